"""The case files of `evals/cases/`: their prompts, and the text around them."""

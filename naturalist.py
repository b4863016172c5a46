"""The front door: the `naturalist` command. It mounts the rooms' commands and does nothing else."""

from agent.commands import app
from agent.door_commands import mount
from evals.commands import organisms

mount(app)
app.add_typer(organisms, name="organisms")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

"""The front door: the `naturalist` command. It mounts the rooms' commands and does nothing else."""

from agent import run_commands
from agent.commands import app
from agent.doors import commands as door_commands
from evals.bench.commands import bench
from evals.commands import organisms

run_commands.mount(app)
door_commands.mount(app)
app.add_typer(organisms, name="organisms")
app.add_typer(bench, name="bench")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

from __future__ import annotations


class FakeWandb:
    """What is called of wandb, noted down."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def init(self, **options: object) -> FakeWandb:
        self.calls.append(("init", options))
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        self.calls.append(("define_metric", (name, step_metric)))

    def log(self, numbers: dict[str, float]) -> None:
        self.calls.append(("log", numbers))

    def finish(self) -> None:
        self.calls.append(("finish", None))

"""What a task takes of a Ray cluster's nodes, and for how many there is room."""

from typing import Any

from tubedet.errors import UsageError

ATTEMPTS = 4  # at a video whose worker or node is lost
CPUS_A_TASK = 1  # N tasks of one thread do more than one of N threads
CPUS_BESIDE_A_GPU = 2  # decoding and drawing go on beside the network
QUEUED_A_PLACE = 2  # so a cluster that grows by what waits does so


class Room:
    """What a task takes of a node, and how many the cluster has room for."""

    def __init__(self, ray: Any, device: str, at_most: int | None) -> None:
        """See what there is.

        Raises:
            UsageError: if the device is a numbered one: Ray says which GPU is whose.
        """
        if device.startswith("cuda:"):
            raise UsageError(f"--device {device}: Ray shares the GPUs out; give cuda, or cpu")
        self.ray, self._at_most = ray, at_most
        nodes = self._nodes()
        self._gpus = int(device == "cuda" or (device == "auto" and any(gpus for _, gpus in nodes)))
        most = max((cpus for cpus, _ in nodes), default=1) or 1
        self._cpus = min(CPUS_BESIDE_A_GPU, most) if self._gpus else CPUS_A_TASK

    def __str__(self) -> str:
        nodes = self._nodes()
        cpus, gpus = (sum(each) for each in zip(*nodes, strict=True))
        what = f"{len(nodes)} node{'s' * (len(nodes) != 1)}, {cpus} CPUs, {gpus} GPUs"
        return f"{what}; a video takes {self.of_a_task}"

    @property
    def of_a_task(self) -> str:
        """What a task takes, in words."""
        return f"{self._cpus} CPU{'s' * (self._cpus != 1)}" + (" and a GPU" if self._gpus else "")

    @property
    def options(self) -> dict[str, Any]:
        """Of a task, as Ray takes them."""
        return {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_retries": ATTEMPTS - 1}

    @property
    def tasks(self) -> int:
        """How many may be at work, or wait for a place."""
        return self._at_most or max(1, QUEUED_A_PLACE * self.places)

    @property
    def places(self) -> int:
        """How many can be at work at once, for now."""
        places = sum(
            min(cpus // self._cpus, gpus) if self._gpus else cpus // self._cpus
            for cpus, gpus in self._nodes()
        )
        return min(places, self._at_most or places)

    def _nodes(self) -> list[tuple[int, int]]:
        """CPUs and GPUs of every node that is there."""
        resources = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return [(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in resources]

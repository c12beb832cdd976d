"""Settings of results. Standard library only, so that planning a stage loads nothing heavy."""

from dataclasses import dataclass

from steps.core.config import field


@dataclass(frozen=True, kw_only=True)
class System:
    """What a system is called."""

    name: str = field(decides=False)  # of the system whose scores these are; its folder
    model: str = field("", decides=False)  # the system whose network it uses, if not its own
    # the name of the preparation that it is trained on, where the systems of a recipe are trained on several: its manifests,
    # features and sounds lie in folders that end in "-<data>"
    data: str = field("", decides=False)

"""What the settings of networks and heads have to say about wrong values."""

# poolings over time that have no settings of their own
POOLINGS = ("statistics", "mean")
# those of `steps.nnet.choose_pooling`: any network; networks over bins and frames only; and which use which setting
TIME_POOLINGS = (
    *POOLINGS,
    "max",
    "attentive_statistics",
    "channel_attentive",
    "channel_attentive_bn",
    "multi_head",
    "multi_query",
)
PLANE_POOLINGS = ("global_mean", "global_max")
POOLING_SETTINGS = {
    "attention_dim": (128, ("attentive_statistics", "channel_attentive", "channel_attentive_bn", "multi_query")),
    "heads": (1, ("attentive_statistics", "multi_head", "multi_query")),
    "queries": (1, ("multi_query",)),
}


def expect(settings: object, name: str, allowed: tuple) -> None:
    """Raises ValueError if a field has none of the allowed values."""
    found = getattr(settings, name)
    if found not in allowed:
        raise ValueError(f"{type(settings).__name__}.{name}: expected one of {allowed}, found {found!r}")


def expect_counts(settings: object, name: str, *values: int) -> None:
    """Raises ValueError if there is no value or one is below 1."""
    if not values or min(values) < 1:
        raise ValueError(f"{type(settings).__name__}.{name}: expected numbers of at least 1, found {values}")


def expect_above(settings: object, name: str, bound: float) -> None:
    """Raises ValueError unless a field is above the bound."""
    found = getattr(settings, name)
    if not found > bound:
        raise ValueError(f"{type(settings).__name__}.{name}: expected a number above {bound:g}, found {found}")


def expect_range(settings: object, name: str, low: float, high: float) -> None:
    """Raises ValueError unless low <= field <= high."""
    found = getattr(settings, name)
    if not low <= found <= high:
        raise ValueError(f"{type(settings).__name__}.{name}: expected {low:g} to {high:g}, found {found}")


def expect_margin(scale: float, margin: float) -> None:
    """Raises ValueError for a scale or margin that no margin loss can work with."""
    if scale <= 0:
        raise ValueError(f"head.scale: expected a number above 0, found {scale}")
    if not 0 <= margin < 1.5:
        raise ValueError(f"head.margin: expected a number from 0 to below 1.5, found {margin}")


def expect_pooling(settings: object, allowed: tuple[str, ...]) -> None:
    """Raises ValueError for an unknown pooling, or one that has no use for a setting other than its default."""
    expect(settings, "pooling", allowed)
    for name, (default, users) in POOLING_SETTINGS.items():
        found = getattr(settings, name)
        expect_counts(settings, name, found)
        if found != default and settings.pooling not in users:
            raise ValueError(
                f"{type(settings).__name__}.{name}: pooling {settings.pooling!r} has no use for it (that is for {users}); "
                f"leave it at {default}, found {found}"
            )

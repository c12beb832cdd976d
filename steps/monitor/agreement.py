"""Which settings of stage 4 go together; loads nothing heavy, so that it can be asked before the first stage runs."""

from types import SimpleNamespace

from steps.core.errors import RecipeError

# Heads of which each output is about one known speaker: what active learning looks at (steps/nnet/heads/outputs.py).
CLASSIFIERS = (
    "softmax", "l2_softmax", "heo", "am", "aam", "combined", "sub_centre", "centre", "a_softmax", "sphereface2",
)  # fmt: skip

# Heads whose class vectors can be dealt out over ranks, or drawn from (steps/nnet/heads/partial.py).
PARTIAL = ("softmax", "am", "aam", "combined")


def check_together(settings: SimpleNamespace) -> None:
    """Raises RecipeError for sections [features], [augment], [specaugment], [model], [head], [train] that do not fit together."""
    by_em = settings.train.method == "em"
    if by_em != (settings.model.type == "ivector"):
        raise RecipeError(
            f"train.method = {settings.train.method!r} with model.type = {settings.model.type!r}: expected 'em' exactly if the "
            "model is 'ivector' (conf/model/ivector.toml sets both)"
        )
    if by_em != (settings.head.type == "none"):
        raise RecipeError(
            f"head.type = {settings.head.type!r} with train.method = {settings.train.method!r}: expected 'none' exactly with 'em'"
        )
    if settings.augment.mode == "online" and getattr(settings.features, "vad", "none") != "none":
        raise RecipeError(
            f"augment.mode = 'online' with features.vad = {settings.features.vad!r}: the VAD of whole utterances is unknown to "
            "a crop that is augmented in training; add --set features.vad=none, or --set augment.mode=copies"
        )
    check_storage(settings)
    if by_em:
        _check_em(settings)
    else:
        _check_sampling(settings)
        _check_active(settings)
        if settings.train.partial_head and settings.head.type not in PARTIAL:
            raise RecipeError(
                f"head.type = {settings.head.type!r} with train.shard_head or train.class_share: expected {', '.join(PARTIAL)}"
            )


def check_storage(settings: SimpleNamespace) -> None:
    """Raises RecipeError for augmented copies that have nowhere to be."""
    if settings.augment.mode == "copies" and settings.features.storage == "none":
        raise RecipeError(
            "features.storage = 'none' with augment.mode = 'copies', which stores the features of copies: add "
            "--set features.storage=float32, or --set augment.mode=online"
        )


def _check_active(settings: SimpleNamespace) -> None:
    if settings.train.active == "none":
        return
    found = f"train.active = {settings.train.active!r}"
    if settings.head.type not in CLASSIFIERS:
        raise RecipeError(
            f"{found} with head.type = {settings.head.type!r}: expected a head with an output for each speaker "
            f"({', '.join(CLASSIFIERS)})"
        )
    if settings.augment.mode == "copies":
        raise RecipeError(
            f"{found} with augment.mode = 'copies': copies of an utterance would count as utterances to be taken in; "
            "add --set augment.mode=online, or none"
        )


def _check_em(settings: SimpleNamespace) -> None:
    if settings.augment.mode == "online":
        raise RecipeError(
            "augment.mode = 'online' with train.method = 'em', which reads whole utterances from disk; add "
            "--set augment.mode=none, or copies"
        )
    if settings.specaugment.p > 0:
        raise RecipeError(f"specaugment.p = {settings.specaugment.p}: expected 0, as train.method = 'em' has no use for it")


def _check_sampling(settings: SimpleNamespace) -> None:
    sampling, head = settings.train.sampling, settings.head
    if sampling in ("pairs", "groups") and settings.augment.speed_as_new_speakers:
        raise RecipeError(
            f"train.sampling = {sampling!r} with augment.speed_as_new_speakers: who speaks in an example is known only once "
            "its speed is drawn; add --set augment.speed_as_new_speakers=false"
        )
    if sampling in ("pairs", "groups") and settings.augment.mode == "copies":
        raise RecipeError(
            f"train.sampling = {sampling!r} with augment.mode = 'copies': a recording would meet its own copy as another "
            "one of its speaker; add --set augment.mode=online, or none"
        )
    needed = getattr(head, "batches", ())
    if needed and sampling not in needed:
        raise RecipeError(f"train.sampling = {sampling!r}: expected {' or '.join(needed)}, as head.type = {head.type!r} needs")

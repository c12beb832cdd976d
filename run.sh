#!/usr/bin/env bash
# From a corpus to a table of error rates: options, then one call per stage.
set -euo pipefail

{  # bash reads all of this before it begins, so that this file may change while it runs

recipe=           # a folder of recipes/; default: toy, or that of the sweep
system=           # one of its TOML files, several with commas, or "all"; default: what recipe.toml says
sweep=            # a file of recipes/<recipe>/sweeps: settings that vary, instead of a system
stage=1           # first stage to run
stop_stage=8      # last stage to run
jobs=             # processes that share a stage's work; default: as many as there are cores
at_once=1         # systems, or points of a sweep, that are trained, embedded and scored at the same time
launcher=local    # where they run: here, or as conf/launch/<launcher>.toml says
detach=           # --detach: go on when this shell ends, as a job or in the background
status=           # --status: say what is done, at work and queued, and do nothing
exp=exp           # where everything is written
data=             # the corpus's folder, for recipes that read one
download=         # --download: fetch the corpus into that folder first (default: data/<recipe>), where it may be fetched freely
model=            # a trained model (its folder, or a Keras HDF5 file of voicemap) to use instead of training one (stages 3, 4 and 7 are passed over)
settings=()       # --set section.key=value, may be repeated
force=()          # --force: set outputs of other settings aside and make them anew
verify=()         # --verify: compare the content of all that is finished with what was written, and make anew what is damaged

usage() {
  cat <<'HELP'
usage: ./run.sh [--recipe toy] [--system NAME[,NAME]|all] [--stage 1] [--stop-stage 8] [--jobs N] [--launcher NAME]
                [--at-once N] [--sweep recipes/RECIPE/sweeps/NAME.toml] [--exp exp] [--data DIR] [--download]
                [--model DIR|FILE.hdf5]
                [--set section.key=value]... [--force] [--verify] [--detach] [--status] [--help]

stages: 1 prepare   corpus -> manifests, trials          exp/<recipe>/manifests
        2 extract   audio -> features                    exp/<recipe>/features/<features>
        3 augment   copies, or a bank of sounds          exp/<recipe>/augmented/<augment>-<features>
        4 train     network                              exp/<recipe>/<system>/model
        5 embed     embeddings                           exp/<recipe>/<system>/embeddings
        6 score     scores, figures                      exp/<recipe>/<system>/scores
        7 fuse      several systems as one (recipes/<recipe>/fusion*.toml)     exp/<recipe>/<fusion>/scores
                    two spaces as one (recipes/<recipe>/align*.toml)           exp/<recipe>/<alignment>/alignment
        8 report    RESULTS.md, report.html              exp/<recipe>/report

  ./run.sh                                     synthetic voices, all stages, ends in a table
  ./run.sh --recipe librispeech --system mini_resnet --download              fetches 0.5 GB of real speech first
  ./run.sh --recipe own --data ~/speech        your own folder of speakers (recipes/own/README.md)
  ./run.sh --sweep recipes/voices/sweeps/linkage.toml --data VOICES      settings that vary, and a table of what comes out
  ./run.sh --recipe own --data OTHER --model exp/voices/resnet_aam/model      a trained model on other speech
  ./run.sh --recipe voxceleb --launcher slurm --jobs 40 --detach             on a cluster (conf/launch/slurm.toml)
  ./run.sh --recipe voxceleb --system all --at-once 8 --launcher slurm       eight systems at a time
  ./run.sh --recipe voxceleb --status                                        how far it is
  ./run.sh --verify                            is all that is finished as it was written? what is damaged is made anew
Options may be written --option value or --option=value; each stands there once, but for --set.
HELP
}

fail() { echo "run.sh: $*" >&2; exit 2; }

# what somebody typed, for messages that say what to type instead: words with the character 31 between them
words=("$@")
typed=("$0" "$@")
if [[ $0 != */* ]]; then typed=(bash "${typed[@]}"); fi
SIDAMO_COMMAND=$(IFS=$'\x1f'; printf '%s' "${typed[*]}")
export SIDAMO_COMMAND
started=$PWD
known=(--help --force --verify --detach --status --download
       --recipe --system --sweep --stage --stop-stage --jobs --at-once --launcher --exp --data --model --set)
given=" "
while [ $# -gt 0 ]; do
  if [[ $1 == --*=* ]]; then set -- "${1%%=*}" "${1#*=}" "${@:2}"; joined=yes; else joined=; fi  # --recipe=toy
  [[ $1 == --set || $given != *" $1 "* ]] || fail "option $1 is there twice; expected it once"
  given+="$1 "
  case "$1" in
    --help|-h|--force|--verify|--detach|--status|--download)
      [ -z "$joined" ] || fail "option $1 takes no value, found '$2'"
  esac
  case "$1" in
    --help|-h) usage; exit 0 ;;
    --force) force=(--force); shift ;;
    --verify) verify=(--verify); shift ;;
    --detach) detach=yes; shift ;;
    --status) status=yes; shift ;;
    --download) download=yes; shift ;;
    --recipe|--system|--sweep|--stage|--stop-stage|--jobs|--at-once|--launcher|--exp|--data|--model|--set)
      [ $# -ge 2 ] || fail "option $1 needs a value (./run.sh --help lists all options)"
      [ -n "$joined" ] || [[ $2 != --* ]] || fail "option $1 needs a value, found the option $2"
      case "$1" in
        --stage|--stop-stage|--jobs|--at-once) ;;  # looked at below
        *) [ -n "$2" ] || fail "option $1 needs a value, found nothing" ;;
      esac
      case "$1" in
        --recipe) recipe=${2%/} ;;
        --system) system=$2 ;;
        --sweep) sweep=$(realpath -m -- "$2") ;;
        --stage) stage=$2 ;;
        --stop-stage) stop_stage=$2 ;;
        --jobs) jobs=$2 ;;
        --at-once) at_once=$2 ;;
        --launcher) launcher=$2 ;;
        --exp) exp=$(realpath -m -- "$2") ;;
        --data) data=$(realpath -m -- "$2") ;;
        --model) model=$(realpath -m -- "$2") ;;
        --set) settings+=(--set "$2") ;;
      esac
      shift 2 ;;
    *)
      for each in "${known[@]}"; do
        [[ -z $1 || ( $each != "$1"* && $1 != "$each"* ) ]] || fail "unknown option $1; did you mean $each? (./run.sh --help lists all options)"
      done
      fail "unknown option $1 (./run.sh --help lists all options)" ;;
  esac
done
[[ $stage =~ ^[1-8]$ ]] || fail "--stage '$stage': expected a number from 1 to 8"
[[ $stop_stage =~ ^[1-8]$ ]] || fail "--stop-stage '$stop_stage': expected a number from 1 to 8"
[[ $given != *" --jobs "* || $jobs =~ ^[1-9][0-9]{0,4}$ ]] || fail "--jobs '$jobs': expected a number from 1 to 99999"
[[ $at_once =~ ^[1-9][0-9]{0,3}$ ]] || fail "--at-once '$at_once': expected a number from 1 to 9999"
[ "$stage" -le "$stop_stage" ] || fail "--stage $stage --stop-stage $stop_stage: expected the first stage before the last one"
if [ -n "$model" ] && [ -n "$system" ]; then fail "--system and --model: expected one of them, as a model brings its settings"; fi
if [ -n "$sweep" ] && [ -n "$system$model" ]; then fail "--sweep: says which systems it begins with; expected no --system and no --model"; fi

cd "$(dirname "${BASH_SOURCE[0]}")"
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x .venv/bin/python ]; then PATH=$PWD/.venv/bin:$PATH; fi
python -c 'import importlib.util as u; raise SystemExit(any(u.find_spec(n) is None for n in ("torch", "lhotse", "soundfile")))' ||
  fail "$(command -v python || echo 'python (there is none)') lacks the packages of this repository: see README.md, install and run"
launchers=(conf/launch/*.toml)
launchers=("${launchers[@]##*/}")
[[ " local ${launchers[*]%.toml} " == *" $launcher "* ]] || fail "--launcher '$launcher': there is no conf/launch/$launcher.toml; there are: ${launchers[*]%.toml}"
sweep=${sweep#"$PWD"/}
if [ -n "$sweep" ]; then recipe=${recipe:-$(basename -- "$(dirname -- "$(dirname -- "$sweep")")")}; fi
recipe=${recipe:-toy}
if [ -n "$status" ]; then exec python -m steps.core.status --folder "$exp/$recipe"; fi
jobs=${jobs:-$(getconf _NPROCESSORS_ONLN)}
if [ -n "$download" ]; then data=${data:-$PWD/data/$recipe}; fi
if [ -n "$data" ]; then settings+=(--set "site.corpus=$data"); fi
check=(--recipe "recipes/$recipe" --system "$system" --launcher "$launcher" "${settings[@]}")
if [ -n "$sweep" ]; then check+=(--sweep "$sweep"); fi
if [[ $model == *.hdf5 || $model == *.h5 ]]; then  # a network of Keras
  converted=$exp/converted/$(basename -- "${model%.*}")/model
  python -m steps.convert --model "$model" --out "$converted" "${force[@]}" || exit $?
  model=$converted
fi
if [ -n "$model" ]; then
  check+=(--model "$model")
  # The corpus that it was trained on keeps its folder.
  if [[ $model == "$(realpath -m -- "$exp/$recipe")"/* ]]; then
    exp=$exp/tried/$(basename -- "${data:-$recipe}")
    echo "run.sh: what the model was trained on keeps its folder; results go to $exp/$recipe (elsewhere: --exp DIR)" >&2
  fi
fi
plan=$(python -m steps.check "${check[@]}") || exit $?
trap 'exit 143' TERM  # a stage gets the signal, too, and bash waits until it has put things in order
common=(--jobs "$jobs" --launcher "$launcher" "${force[@]}" "${verify[@]}")
top=$exp/$recipe
if [ -n "$detach" ]; then
  exec python -m steps.core.detach --launcher "$launcher" --folder "$top/runs" --start "$started" "$PWD/run.sh" "${words[@]}"
fi

# run NUMBER TITLE COMMAND...: one stage, if it is among those asked for
run() {
  local number=$1 title=$2
  shift 2
  if [ "$number" -lt "$stage" ] || [ "$number" -gt "$stop_stage" ] || [ "$number" -lt "$first" ]; then return 0; fi
  if [ "$number" -lt "$from" ] || [ "$number" -gt "$to" ]; then return 0; fi
  echo "stage $number: $title" >&2
  python -m "$@" "${common[@]}"
}

# split TEXT: the arguments in a column of the plan, into the array `config`
split() { IFS=$'\x1f' read -ra config <<<"$1"; }

# present FOLDER...: whether all of them are there; those that are not stand in `missing`
present() {
  missing=()
  for each in "$@"; do if [ ! -d "$top/$each" ]; then missing+=("${each%/*}"); fi; done
  [ "${#missing[@]}" -eq 0 ]
}

# one LINE FROM TO: stages FROM to TO of one system or point, a line of the plan
one() {
  local kind name arguments features augmented trained embeddings begins first last prepared backend scores stored
  local config init=() fitted=() recordings=() train=run from=$2 to=$3
  IFS=$'\t' read -r kind name arguments features augmented trained embeddings begins first last prepared backend scores stored <<<"$1"
  split "$arguments"
  if [ "$begins" != - ]; then init=(--init "$top/$begins"); fi
  if [ "$stored" = - ]; then recordings=(--manifests "$top/$prepared"); fi
  if [ "$backend" != - ]; then fitted=(--backend "$backend"); fi
  if [ -n "$model" ]; then train=:; else trained=$top/$trained; fi  # with --model there is nothing to augment and to train

  # 1. Which recordings there are, who speaks in them, and which pairs are compared.
  run 1 "prepare $recipe" steps.prepare "${config[@]}" --out "$top/$prepared"

  # 2. Features of every utterance.
  run 2 "extract $features" steps.extract "${config[@]}" --manifests "$top/$prepared" --out "$top/features/$features"

  # 3. Noise, rooms and voices to train against.
  $train 3 "augment $augmented" steps.augment "${config[@]}" --manifests "$top/$prepared" --out "$top/augmented/$augmented"

  # 4. The network. Goes on from its last checkpoint if it was interrupted.
  $train 4 "train $name" steps.train "${config[@]}" --manifests "$top/$prepared" \
    --features "$top/features/$features" --augmented "$top/augmented/$augmented" "${init[@]}" --out "$trained"
  if [ "$last" = 4 ]; then return 0; fi  # only trained, for another system to begin with

  # 5. One vector per utterance, or one per window.
  run 5 "embed $name" steps.embed "${config[@]}" --features "$top/features/$features" --model "$trained" "${recordings[@]}" \
    --out "$top/$embeddings"

  # 6. Back end, scores, calibration, figures.
  run 6 "score $name" steps.score "${config[@]}" --manifests "$top/$prepared" --embeddings "$top/$embeddings" \
    "${fitted[@]}" --out "$top/$scores"
}

# several NUMBER COLUMN: one stage of all systems, `at_once` of them at a time; those whose output (a column of the plan) another
# one makes too come after it, and find it there. What one writes stands in runs/; one that fails does not stop the others.
several() {
  local number=$1 column=$2 line out log status failed=0
  local -A made=() written=()
  local -a fields later=()
  if [ "$number" -lt "$stage" ] || [ "$number" -gt "$stop_stage" ]; then return 0; fi
  mkdir -p "$top/runs" || fail "--exp $exp: no folder can be made there; choose another place"
  set -m  # each of them a group of processes, which Ctrl-C reaches
  trap 'for each in $(jobs -rp); do kill -INT -- "-$each"; done; wait; exit 2' INT TERM
  for line in "${systems[@]}"; do
    IFS=$'\t' read -ra fields <<<"$line"
    out=${fields[$column]}
    if [ "$number" -lt "${fields[8]}" ] || [ "$number" -gt "${fields[9]}" ]; then continue; fi
    if [ -n "${made[$out]:-}" ] || { [ "$number" = 4 ] && [ "${fields[7]}" != - ]; }; then later+=("$line"); continue; fi
    made[$out]=yes
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n || true; done
    log=$top/runs/${fields[1]}.$number.log
    echo "stage $number: ${fields[1]} begins ($log)" >&2
    one "$line" "$number" "$number" >"$log" 2>&1 &
    written[$!]=${fields[1]}
  done
  for each in "${!written[@]}"; do
    wait "$each" || {
      status=$?
      failed=$((status > failed ? status : failed))
      { echo "stage $number: ${written[$each]} failed:" && tail -n 5 "$top/runs/${written[$each]}.$number.log"; } >&2
    }
  done
  set +m
  trap - INT
  trap 'exit 143' TERM
  if [ "$failed" -ne 0 ]; then exit "$failed"; fi
  for line in "${later[@]}"; do one "$line" "$number" "$number"; done
}

mapfile -t systems < <(grep -P '^system\t' <<<"$plan")
if [ -n "$download" ]; then
  for line in "${systems[@]}"; do
    split "$(cut -f 3 <<<"$line")"
    python -m steps.download "${config[@]}" --to "$data" || exit $?
  done
fi
if [ "$at_once" -eq 1 ]; then
  for line in "${systems[@]}"; do one "$line" 1 6; done
else
  for line in "${systems[@]}"; do one "$line" 1 3; done  # these share a stage's work among --jobs
  several 4 5
  several 5 6
  several 6 12
fi

# What systems were trained on may differ (system.data); the lists that they are compared on are those of the plain one.
manifests=$top/manifests
if [ ! -d "$manifests" ]; then manifests=$top/$(cut -f 11 <<<"${systems[0]}"); fi
first=1 from=7 to=8

# joined VERB INPUT OUT: a stage that makes one thing of several parts, if all of them are there
joined() {
  if present "${parts[@]}"; then
    for each in "${parts[@]}"; do inputs+=("--$2" "$top/$each"); done
    run 7 "$1 $name" "steps.$1" "${config[@]}" --manifests "$manifests" "${inputs[@]}" --out "$top/$name/$3"
  elif [ "$stage" -le 7 ] && [ "$stop_stage" -ge 7 ]; then
    echo "stage 7: $name is passed over: it needs the $2 of ${missing[*]}, which have not been run (--system all)" >&2
  fi
}

# 7. Several systems as one, and two spaces as one, where the recipe says which and all of them are there. 8. What a sweep found.
while IFS=$'\t' read -r kind name arguments parts models; do
  split "$arguments"
  read -ra parts <<<"$parts"
  inputs=()
  case $kind in
    fusion) joined fuse scores scores ;;
    align) joined align embeddings alignment ;;
    sweep)
      for each in "${parts[@]}"; do inputs+=(--scores "$top/$each"); done
      for each in $models; do inputs+=(--model "$top/$each"); done
      run 8 "sum up $name" steps.sweep "${config[@]}" "${inputs[@]}" --out "$top/sweeps/$name/summary" ;;
  esac
done <<<"$plan"

# 8. Tables, curves, and the command that repeats each number.
if [ "$stop_stage" -lt 8 ]; then exit; fi
results=()
for each in "$top"/*/scores; do if [ -d "$each" ]; then results+=(--scores "$each"); fi; done
for each in "$top"/*/model; do if [ -d "$each" ]; then results+=(--model "$each"); fi; done
for each in "$top"/sweeps/*/summary; do if [ -d "$each" ]; then results+=(--sweep "$each"); fi; done
for each in "$top"/*/alignment; do if [ -d "$each" ]; then results+=(--alignment "$each"); fi; done
if [ "${results[0]:-}" != --scores ]; then
  if [ -z "$sweep" ]; then fail "no report: no system of $recipe has been scored in $top; run stages 1 to 6 first"; fi
  echo "run.sh: no report: no system of $recipe has been scored in $top, only points of sweeps" >&2
  exit 0
fi
run 8 "report $recipe" steps.report --config "recipes/$recipe/recipe.toml" "${settings[@]}" --set "report.recipe=$recipe" \
  --manifests "$manifests" "${results[@]}" --out "$top/report"
exit
}

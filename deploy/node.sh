#!/bin/sh
# Make an island of a bare node: finds or installs Python, installs Atoll's wheel into a virtual
# environment, and becomes its agent. It only ever connects outward.
#
#   sh node.sh --wheel WHEEL [--sha256 HEX] [--extras LIST] [--folder FOLDER] -- AGENT OPTIONS
#
#   --wheel    file, or https:// address, of the wheel: `make wheel` builds it
#   --sha256   refuse any other wheel
#   --extras   what to install beside the control plane (train,s3)
#   --folder   for the environment and for work (~/.atoll)
#
# What follows -- goes to `atoll agent`; `atoll token` prints it. PYTHON names an interpreter to use.
# Storage is reached as the run's URI says, with credentials from the environment (AWS_…).
# Exit codes: 2 for what was asked for wrongly, 3 for a node that cannot be made ready, else the agent's.
set -eu

TRIES=3
wheel='' sha256='' extras=train,s3 folder="${HOME:-/root}/.atoll"

refuse() { echo "node.sh: $1" >&2; exit 2; }
fail() { echo "node.sh: $1" >&2; exit 3; }

while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    --wheel | --sha256 | --extras | --folder)
      [ $# -gt 1 ] || refuse "$1 needs a value"
      case $1 in
        --wheel) wheel=$2 ;;
        --sha256) sha256=$2 ;;
        --extras) extras=$2 ;;
        --folder) folder=$2 ;;
      esac
      shift 2 ;;
    -h | --help) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) refuse "$1 is not known; options of the agent come after --" ;;
  esac
done
[ -n "$wheel" ] || refuse "--wheel is missing; name the file or https:// address of Atoll's wheel"
[ $# -gt 0 ] || refuse "the agent's options are missing; give them after --, as atoll token prints them"
case $wheel in
  http://*) refuse "--wheel: $wheel could be changed on its way; use https://" ;;
  https://*) ;;
  *) [ -f "$wheel" ] || refuse "--wheel: there is no $wheel" ;;
esac
umask 077
mkdir -p "$folder" 2>/dev/null || refuse "--folder: $folder cannot be made"

# Several times, because package servers and networks have their moments; never for ever.
insist() {
  what=$1 try=1
  shift
  until "$@" >>"$folder/bootstrap.log" 2>&1; do
    [ "$try" -lt "$TRIES" ] ||
      fail "$what failed $TRIES times: $(tail -n 1 "$folder/bootstrap.log"); see $folder/bootstrap.log"
    sleep $((try * 5))
    try=$((try + 1))
  done
}

usable() {
  [ "$("$1" -c 'import ensurepip, sys, venv; print(sys.version_info >= (3, 11))' 2>/dev/null)" = True ]
}

find_python() {
  for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if usable "$name"; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

install_python() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && [ -z "${PYTHON:-}" ] ||
    fail "${PYTHON:-no Python here} is not 3.11 or newer with venv; install python3 and python3-venv"
  insist "installing Python" sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install \
    --yes --no-install-recommends python3 python3-venv ca-certificates'
}

python=$(find_python) || { install_python; python=$(find_python) || fail "this node's packages have no Python 3.11"; }

case $wheel in
  https://*)
    # Python has no need of curl or wget. What follows a ? may be a signature, and is told to nobody.
    insist "fetching ${wheel%%\?*}" "$python" -c '
import sys, urllib.request
from pathlib import Path
address, folder = sys.argv[1:]
path = Path(folder, address.partition("?")[0].rpartition("/")[2])
path.write_bytes(urllib.request.urlopen(address, timeout=60).read())' "$wheel" "$folder"
    wheel=${wheel%%\?*}
    wheel=$folder/${wheel##*/} ;;
esac
digest=$("$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$wheel")
[ -z "$sha256" ] || [ "$sha256" = "$digest" ] || refuse "--sha256: the wheel has $digest; it is another one"

# One environment for each wheel and its extras; only a whole one has the mark.
venv=$folder/venv-$(echo "$digest" | cut -c1-12)-$(echo "$extras" | tr ',' '-')
if [ ! -e "$venv/.ready" ]; then
  echo "node.sh: installing Atoll into $venv" >&2
  [ -e "$venv/bin/python" ] || "$python" -m venv "$venv" >>"$folder/bootstrap.log" 2>&1 ||
    fail "$venv cannot be made; see $folder/bootstrap.log"
  insist "installing Atoll" "$venv/bin/python" -m pip install --disable-pip-version-check \
    "$wheel${extras:+[$extras]}"
  touch "$venv/.ready"
fi
exec "$venv/bin/python" -P -m atoll agent "$@"

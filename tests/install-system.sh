#!/bin/sh
# Installs the few programs that no Python registry has, where that can be done without asking: as root on Debian.
# usage: tests/install-system.sh test|bench
# Never fails: what is still missing makes its tests skip (or, with CI=true, fail) with a line of their own.
set -u
PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps nginx, also where a user's PATH does not say so

missing=""

need() { # need PACKAGE COMMAND...: PACKAGE is missing unless one of the commands is on the PATH
    package=$1
    shift
    for command in "$@"; do
        if command -v "$command" >/dev/null 2>&1; then
            return
        fi
    done
    missing="$missing $package"
}

need_font() { # need_font PACKAGE FILE: PACKAGE is missing unless a font of that file name is there
    if ! find /usr/share/fonts /usr/local/share/fonts "${HOME:-/}/.fonts" "${HOME:-/}/.local/share/fonts" \
        -name "$2" 2>/dev/null | grep -q .; then
        missing="$missing $1"
    fi
}

case "${1:-}" in
test)
    without="the tests that need it are skipped"
    # Real servers for the cluster's tests: Cassandra and Kafka run on Java, Maven fetches them.
    need openjdk-17-jre-headless java
    need maven mvn
    need redis-server redis-server
    need nginx-light nginx # stands before the cluster's processes, as deploy/nginx has it
    need chromium chromium chromium-browser google-chrome
    need php-cli php # signs a token as a host app in PHP does
    need npm npm     # brings Node; fetches what the widget is checked with
    # Without it Chromium draws every emoji as an empty box. macOS has its own.
    [ "$(uname -s)" = Darwin ] || need_font fonts-noto-color-emoji 'NotoColorEmoji*'
    ;;
bench)
    without="the figures that need it are left out"
    need wrk wrk
    # Debian keeps its programs off the PATH.
    need postgresql psql
    ;;
*)
    echo "usage: $0 test|bench" >&2
    exit 2
    ;;
esac

if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed:$missing (needs root on Debian); $without"
    exit 0
fi

echo "installing$missing with apt-get"
export DEBIAN_FRONTEND=noninteractive
nginx_is_new=no
case "$missing" in *nginx*) nginx_is_new=yes ;; esac
# shellcheck disable=SC2086 # one word per package
if ! { apt-get -qq update && apt-get -qq install --yes --no-install-recommends $missing >/dev/null; }; then
    echo "apt-get could not install$missing; $without"
fi
if [ $nginx_is_new = yes ] && command -v service >/dev/null 2>&1; then
    # Debian starts a web server for everybody with it. Tests start their own.
    service nginx stop >/dev/null 2>&1
    update-rc.d nginx disable >/dev/null 2>&1
fi
exit 0

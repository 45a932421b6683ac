#!/bin/sh
# Options alone are those of `biapy`, as the configuration format's own lines for Docker have it;
# a word first is a command of `singula`.
set -eu
case ${1-} in
  "") exec singula --help ;;
  --help | --version) exec singula "$@" ;;
  -*) exec biapy "$@" ;;
  *) exec singula "$@" ;;
esac

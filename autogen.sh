#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes ./configure from configure.ac. Needed once after a clone and never from a release archive.
set -eu
cd "$(dirname "$0")"
mkdir -p m4
exec autoreconf -fi "$@"

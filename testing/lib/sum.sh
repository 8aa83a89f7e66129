# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For areas of several parts: `part COMMAND...` for each, then `total`.
passed=0 failed=0
output=$(mktemp) && trap 'rm -f "$output"' EXIT

# Runs a part that ends with "N passed, N failed", and adds it up. One that does not end so, or with another status, has failed.
part() {
	local status last
	"$@" 2>&1 | tee "$output" | grep --line-buffered -vE '^[0-9]+ passed, [0-9]+ failed$'
	status=${PIPESTATUS[0]}
	last=$(tail -n 1 "$output")
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
		[ "$status" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || fault "$* ended with status $status"
	else
		fault "$* died with status $status"
	fi
}

fault() {
	echo "FAIL $1"
	failed=$((failed + 1))
}

total() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

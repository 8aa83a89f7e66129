# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For areas of several parts: `part COMMAND...` for each, then `total`. Parts that do not disturb one another may run side by
# side: functions that hold parts, named to `side_by_side`.
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

# The parts of each named function at the same time as those of the others; their output one function after the other.
side_by_side() {
	local dir lane pids=()
	dir=$(mktemp -d) || return 1
	for lane in "$@"; do
		(
			passed=0 failed=0 output=$dir/$lane.part
			trap - EXIT
			"$lane"
			total
		) >"$dir/$lane" 2>&1 &
		pids+=($!)
	done
	for lane in "$@"; do
		wait "${pids[0]}"
		part end_of_lane "$dir/$lane" $?
		pids=("${pids[@]:1}")
	done
	rm -rf "$dir"
}

end_of_lane() { # FILE STATUS
	cat "$1"
	return "$2"
}

fault() {
	echo "FAIL $1"
	failed=$((failed + 1))
}

total() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

# SPDX-License-Identifier: Apache-2.0

# CYGNET_DEFINE_DIR(NAME, DIRECTORY, DESCRIPTION)
# Defines NAME in config.h as DIRECTORY with ${prefix} and its like expanded.
AC_DEFUN([CYGNET_DEFINE_DIR], [
	cygnet_dir_prefix=$prefix
	cygnet_dir_exec_prefix=$exec_prefix
	AS_IF([test "x$prefix" = xNONE], [prefix=$ac_default_prefix])
	AS_IF([test "x$exec_prefix" = xNONE], [exec_prefix='${prefix}'])
	cygnet_dir="$2"
	while :; do
		AS_CASE([$cygnet_dir], [*'$'*], [eval cygnet_dir="$cygnet_dir"], [break])
	done
	prefix=$cygnet_dir_prefix
	exec_prefix=$cygnet_dir_exec_prefix
	AC_DEFINE_UNQUOTED([$1], ["$cygnet_dir"], [$3])
	AS_VAR_SET([cygnet_path_$1], [$cygnet_dir])
])

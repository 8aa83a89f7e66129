# SPDX-License-Identifier: Apache-2.0

# CYGNET_CFLAG(VARIABLE, FLAG...)
# Appends to VARIABLE each compiler FLAG that the compiler accepts without a warning.
AC_DEFUN([CYGNET_CFLAG], [
	m4_foreach_w([_flag], [$2], [
		AS_VAR_PUSHDEF([cygnet_cv], [cygnet_cv_cflag_]_flag)
		AC_CACHE_CHECK([whether $CC accepts ]_flag, [cygnet_cv], [
			cygnet_saved=$CFLAGS
			CFLAGS="$CFLAGS -Werror _flag"
			AC_COMPILE_IFELSE([AC_LANG_SOURCE([[
				#include <string.h>
				int f(char *a, const char *b);
				int f(char *a, const char *b) { memcpy(a, b, 2); return 0; }
			]])], [AS_VAR_SET([cygnet_cv], [yes])], [AS_VAR_SET([cygnet_cv], [no])])
			CFLAGS=$cygnet_saved])
		AS_VAR_IF([cygnet_cv], [yes], [AS_VAR_APPEND([$1], [" _flag"])])
		AS_VAR_POPDEF([cygnet_cv])
	])
])

# CYGNET_LDFLAG(VARIABLE, FLAG)
# Appends to VARIABLE the FLAG if a program links with it.
AC_DEFUN([CYGNET_LDFLAG], [
	AS_VAR_PUSHDEF([cygnet_cv], [cygnet_cv_ldflag_$2])
	AC_CACHE_CHECK([whether the linker accepts $2], [cygnet_cv], [
		cygnet_saved=$LDFLAGS
		LDFLAGS="$LDFLAGS $2"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
		    [AS_VAR_SET([cygnet_cv], [yes])], [AS_VAR_SET([cygnet_cv], [no])])
		LDFLAGS=$cygnet_saved])
	AS_VAR_IF([cygnet_cv], [yes], [AS_VAR_APPEND([$1], [" $2"])])
	AS_VAR_POPDEF([cygnet_cv])
])

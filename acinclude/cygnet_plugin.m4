# SPDX-License-Identifier: Apache-2.0

# CYGNET_PLUGIN(NAME, GROUP, MODULES, PACKAGE, DESCRIPTION, [VARIABLE, WHAT, PACKAGE])
#
# Declares a plugin that is built by default: --disable-NAME, listed in --help under GROUP. MODULES is what
# pkg-config must know (may be empty) and PACKAGE the Debian package that has it. When it is missing the
# plugin is left out and the summary says so, unless --enable-NAME asked for it: then configure fails.
#
# With the further arguments VARIABLE, WHAT and PACKAGE the plugin also needs VARIABLE not to be empty, which is so when WHAT is missing.
#
# Sets the conditional PLUGIN_<NAME> and, with MODULES, <NAME>_CFLAGS and <NAME>_LIBS.
# Plugins of one GROUP are declared one after the other, because --help keeps the order.
AC_DEFUN([CYGNET_PLUGIN], [
	AC_REQUIRE([PKG_PROG_PKG_CONFIG])
	m4_pushdef([_up], m4_toupper(m4_translit([$1], [-], [_])))
	m4_pushdef([_lo], m4_translit([$1], [-], [_]))
	m4_divert_once([HELP_ENABLE], [
$2 plugins:])
	AC_ARG_ENABLE([$1], [AS_HELP_STRING([--disable-$1], [$5])], [], [enable_[]_lo=auto])
	plugin_[]_lo=yes
	plugin_why=
	AS_CASE([$enable_[]_lo],
		[no], [plugin_[]_lo=no; plugin_why="disabled by --disable-$1"],
		[yes|auto], [],
		[AC_MSG_ERROR([--enable-$1 takes no value but yes and no])])
	m4_ifval([$3], [AS_IF([test "$plugin_[]_lo" = yes], [
		PKG_CHECK_MODULES(_up, [$3], [], [
			AS_IF([test "$enable_[]_lo" = yes],
			    [AC_MSG_ERROR([--enable-$1 needs $3: install the Debian package $4])])
			plugin_[]_lo=no
			plugin_why="$3 not found: Debian package $4"])])])
	m4_ifval([$6], [AS_IF([test "$plugin_[]_lo" = yes && test -z "$$6"], [
		AS_IF([test "$enable_[]_lo" = yes],
		    [AC_MSG_ERROR([--enable-$1 needs $7: install the Debian package $8])])
		plugin_[]_lo=no
		plugin_why="$7 not found: Debian package $8"])])
	AM_CONDITIONAL([PLUGIN_]_up, [test "$plugin_[]_lo" = yes])
	AS_IF([test "$plugin_[]_lo" = yes], [AS_VAR_APPEND([plugins_enabled], [" $1"])])
	AS_VAR_APPEND([plugins_summary], ["$(printf '    %-16s %-4s %s' '$1' "$plugin_[]_lo" "${plugin_why:+($plugin_why)}")
"])
	m4_popdef([_up])
	m4_popdef([_lo])
])

# SPDX-License-Identifier: Apache-2.0

# CYGNET_PROG_BPF
# Sets BPF_CLANG to a clang that compiles programs for BPF, empty when there is none, and BPF_CPPFLAGS to what it takes to find the
# kernel's headers: they are in the folder of an architecture, and BPF is none.
AC_DEFUN([CYGNET_PROG_BPF], [
	AC_ARG_VAR([BPF_CLANG], [clang that compiles programs for BPF])
	AC_CHECK_PROGS([BPF_CLANG], [clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14])
	BPF_CPPFLAGS=
	AS_IF([test -n "$BPF_CLANG"], [
		AC_MSG_CHECKING([whether $BPF_CLANG compiles for BPF])
		cygnet_bpf=no
		echo '#include <linux/bpf.h>' >conftest.bpf.c
		for cygnet_flags in '' "-I/usr/include/$host_cpu-linux-gnu" "-I/usr/include/$host_cpu-$host_os"; do
			AS_IF([test $cygnet_bpf = no &&
			    $BPF_CLANG -target bpf -O2 $cygnet_flags -c conftest.bpf.c -o conftest.bpf.o 2>/dev/null],
			    [cygnet_bpf=yes; BPF_CPPFLAGS=$cygnet_flags])
		done
		rm -f conftest.bpf.c conftest.bpf.o
		AC_MSG_RESULT([$cygnet_bpf])
		AS_IF([test $cygnet_bpf = no], [BPF_CLANG=])])
	AC_SUBST([BPF_CPPFLAGS])
])

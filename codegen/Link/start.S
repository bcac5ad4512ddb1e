/* Entry of executables that are linked without the C library's start-up
 * objects. glibc 2.34 and later run constructors by themselves. */
.text
.globl _start
.type _start, @function
_start:
  xorl %ebp, %ebp
  movq %rdx, %r9          /* rtld_fini */
  popq %rsi               /* argc */
  movq %rsp, %rdx         /* argv */
  andq $-16, %rsp
  pushq %rax
  pushq %rsp              /* stack_end */
  xorl %r8d, %r8d
  xorl %ecx, %ecx
  leaq main(%rip), %rdi
  call *__libc_start_main@GOTPCREL(%rip)
  hlt

.section .data.rel.ro, "aw"
.globl __dso_handle
.hidden __dso_handle
__dso_handle:
  .quad __dso_handle

.section .note.GNU-stack, "", @progbits

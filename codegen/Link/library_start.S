/* What a shared library needs that is linked without crtbeginS.o. */
.section .data.rel.ro, "aw"
.globl __dso_handle
.hidden __dso_handle
__dso_handle:
  .quad __dso_handle

.section .note.GNU-stack, "", @progbits

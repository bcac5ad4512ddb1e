# The licence texts as one string; paths are relative to runtime/LICENSES.
    .section .rodata.moe_licenses, "a"
    .globl moe_license_texts
    .globl moe_license_texts_end
    .hidden moe_license_texts
    .hidden moe_license_texts_end
moe_license_texts:
    .ascii "==== zlib ====\n\n"
    .incbin "Zlib.txt"
    .ascii "\n==== libstdc++ and libgcc: GNU GPL 3 with the GCC Runtime Library Exception ====\n\n"
    .incbin "GCC-exception-3.1.txt"
    .ascii "\n"
    .incbin "GPL-3.0.txt"
moe_license_texts_end:
    .section .note.GNU-stack, "", %progbits

# Weights as the linker places them: a large section of its own.
    .section .lrodata.moe, "al", @progbits
    .balign 64
    .globl moert_weights_begin, moert_weights_end
moert_weights_begin:
    .float 3.5
    .zero 60
moert_weights_end:
    .section .note.GNU-stack, "", %progbits

/* Every function of libc and libm that generated code may call: the stub
 * libraries that models are linked against list these beside what the runtime
 * itself uses. */
#define _GNU_SOURCE
#include <math.h>
#include <string.h>

void *moe_allowed[] = {
    (void *)memcpy,         (void *)memmove,        (void *)memset,
    (void *)(float (*)(float))sinf,   (void *)(float (*)(float))cosf,
    (void *)(float (*)(float))expf,   (void *)(float (*)(float))exp2f,
    (void *)(float (*)(float))logf,   (void *)(float (*)(float))log2f,
    (void *)(float (*)(float))log10f, (void *)(float (*)(float))log1pf,
    (void *)(float (*)(float))expm1f, (void *)(float (*)(float))tanhf,
    (void *)(float (*)(float))tanf,   (void *)(float (*)(float))atanf,
    (void *)(float (*)(float, float))atan2f,
    (void *)(float (*)(float, float))powf,
    (void *)(float (*)(float, float))fmodf,
    (void *)(float (*)(float))erff,   (void *)(float (*)(float))roundevenf,
    (void *)(float (*)(float))floorf, (void *)(float (*)(float))ceilf,
    (void *)(float (*)(float))truncf, (void *)(float (*)(float))roundf,
    (void *)(float (*)(float))rintf,  (void *)(float (*)(float, float, float))fmaf,
    (void *)(double (*)(double))sin,   (void *)(double (*)(double))cos,
    /* LLVM makes one call of a sine and a cosine. */
    (void *)sincos,                    (void *)sincosf,
    (void *)(double (*)(double))exp,   (void *)(double (*)(double))exp2,
    (void *)(double (*)(double))log,   (void *)(double (*)(double))log2,
    (void *)(double (*)(double))log10, (void *)(double (*)(double))log1p,
    (void *)(double (*)(double))expm1, (void *)(double (*)(double))tanh,
    (void *)(double (*)(double))tan,   (void *)(double (*)(double))atan,
    (void *)(double (*)(double, double))atan2,
    (void *)(double (*)(double, double))pow,
    (void *)(double (*)(double, double))fmod,
    (void *)(double (*)(double))erf,   (void *)(double (*)(double))roundeven,
    (void *)(double (*)(double))floor, (void *)(double (*)(double))ceil,
    (void *)(double (*)(double))trunc, (void *)(double (*)(double))round,
    (void *)(double (*)(double))rint,  (void *)(double (*)(double, double, double))fma,
};

int main(int argc, char **argv) { return moe_allowed[argc] == 0; }

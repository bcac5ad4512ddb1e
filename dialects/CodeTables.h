#ifndef MOE_DIALECTS_CODETABLES_H
#define MOE_DIALECTS_CODETABLES_H

// What 4-bit codes stand for; two dialects speak of them, and neither may
// depend on the other.

namespace moe {

/// E2M1 (OCP Microscaling Formats 1.0): sign, two bits of exponent, one of
/// mantissa.
inline constexpr float kFp4Table[16] = {
    0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

/// NF4, as bitsandbytes published it with QLoRA.
inline constexpr float kNf4Table[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

} // namespace moe

#endif // MOE_DIALECTS_CODETABLES_H

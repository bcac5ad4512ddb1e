// Which kernels a layer of experts takes, and how they are launched: what the
// runtime does, and what the compiler's cost model counts on.
#ifndef MOE_RUNTIME_DEVICE_KERNELCHOICE_H
#define MOE_RUNTIME_DEVICE_KERNELCHOICE_H

#include <cstdint>

namespace moe::rt {

/// Up to about so many tokens to an expert a layer costs what reading its
/// weights costs, and the kernels for few tokens read them best.
constexpr int64_t kFewTokens = 6;
inline bool areFewTokens(int64_t tokens, int64_t topK, int64_t experts) {
  return tokens * topK <= kFewTokens * experts;
}

/// Choices of experts in one go: what lies between kernels stays below a few
/// gigabytes whatever the number of tokens.
constexpr int64_t kMostSlots = 1 << 17;

/// Blocks that are launched for each multiprocessor (sorting takes one in all).
constexpr int64_t kBlocksOfMultiprocessor = 2;

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_KERNELCHOICE_H

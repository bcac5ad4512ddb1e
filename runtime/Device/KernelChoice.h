// Which kernels a layer of experts takes, and how they are launched: what the
// runtime does, and what the compiler's cost model counts on.
#ifndef MOE_RUNTIME_DEVICE_KERNELCHOICE_H
#define MOE_RUNTIME_DEVICE_KERNELCHOICE_H

#include "runtime/IRInterface.h"

namespace moe::rt {

/// Up to about so many tokens to an expert a layer costs what reading its
/// weights costs, and the kernels for few tokens read them best.
constexpr int64_t kFewTokens = 6;
inline bool areFewTokens(int64_t tokens, int64_t topK, int64_t experts) {
  return tokens * topK <= kFewTokens * experts;
}

/// The kernels that multiply (runtime/IRInterface.h). Those for more than few
/// tokens look at each expert's number of slots themselves: the host does not
/// know it.
struct Multiplying {
  int up, down, upLow, downLow;
};
inline Multiplying multiplying(int64_t tokens, int64_t topK, int64_t experts) {
  if (areFewTokens(tokens, topK, experts))
    return {MOERT_KERNEL_DECODE_UP, MOERT_KERNEL_DECODE_DOWN,
            MOERT_KERNEL_DECODE_UP_LOW, MOERT_KERNEL_DECODE_DOWN_LOW};
  return {MOERT_KERNEL_GROUPED_UP, MOERT_KERNEL_GROUPED_DOWN,
          MOERT_KERNEL_GROUPED_UP_LOW, MOERT_KERNEL_GROUPED_DOWN_LOW};
}

/// Choices of experts in one go, and bytes between kernels, whatever the number
/// of tokens.
constexpr int64_t kMostSlots = 1 << 17;
constexpr int64_t kMostBytes = int64_t(4) << 30;

/// Logits that a warp looks at together where tokens are chosen: the kernels
/// for that hand each other so many words of 4 bytes for them.
constexpr int64_t kSamplePart = 256, kSampleWords = 4;

/// Blocks that are launched for each multiprocessor; those that take more than
/// half of the most shared memory there is (227 KB) are alone there.
constexpr int64_t kBlocksOfMultiprocessor = 2;
inline uint64_t blocksFor(uint32_t multiprocessors, uint32_t sharedBytes) {
  bool isAlone = sharedBytes > (227 << 10) / 2;
  return uint64_t(isAlone ? 1 : kBlocksOfMultiprocessor) * multiprocessors;
}

} // namespace moe::rt

#endif // MOE_RUNTIME_DEVICE_KERNELCHOICE_H

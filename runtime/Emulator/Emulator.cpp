#include "runtime/Emulator/Emulator.h"

#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"

#include <numeric>

namespace moe::emu {

using rt::Code;
using rt::quote;
using rt::Random;
using rt::Status;
using rt::text;

static Status check(const Launch &launch) {
  std::string kernel = text("kernel ", quote(launch.name), " ");
  if (!launch.entry)
    return {Code::InvalidArgument, kernel + "has no code"};
  if (launch.threads == 0 || launch.threads % warpSize ||
      launch.threads > maxThreads)
    return {Code::InvalidArgument,
            text(kernel, "is launched with ", launch.threads,
                 " threads a block; it takes a multiple of ", warpSize,
                 ", at most ", maxThreads)};
  if (launch.sharedBytes > maxSharedBytes)
    return {Code::InvalidArgument,
            text(kernel, "wants ", launch.sharedBytes,
                 " bytes of shared memory; a block has at most ",
                 maxSharedBytes)};
  return {};
}

static std::vector<uint32_t> orderOfBlocks(uint32_t blocks,
                                           const Options &options) {
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0);
  Random random(options.seed);
  if (options.late)
    for (uint32_t left = blocks; left > 1; --left)
      std::swap(order[left - 1], order[random.below(left)]);
  return order;
}

Status run(const Launch &launch, Memory &memory, const Options &options,
           Counts *counts) {
  if (Status status = check(launch); !status.ok())
    return status;
  if (launch.blocks == 0)
    return {};
  Counter counter(launch.threads / warpSize);
  bool counting = options.count && counts;
  Multiprocessor processor(launch, memory, options,
                           counting ? &counter : nullptr);
  if (Status status = processor.prepare(); !status.ok())
    return status;
  for (uint32_t block : orderOfBlocks(launch.blocks, options))
    if (Status status = processor.runBlock(block); !status.ok())
      return status;
  if (Status status = memory.checkGuards(); !status.ok())
    return {status.code,
            text("kernel ", quote(launch.name), ": ", status.message)};
  if (counting)
    counter.addTo(*counts);
  return {};
}

} // namespace moe::emu

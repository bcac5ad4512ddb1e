// wgmma, and what else warpgroups do.
#include "runtime/Core/Text.h"
#include "runtime/Emulator/Multiprocessor.h"
#include "runtime/Emulator/Numbers.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace moe::emu {

using rt::quote;
using rt::text;

namespace {
struct Wgmma {
  float *d;
  const void *a, *b;
  const float *c;
  Multiprocessor::Steps steps;
};

struct Finish {
  float *d;
  const float *c;
};
} // namespace

/// NaNs that name sums on their way.
static constexpr uint32_t handleBits = 0xFFE00000, handleMask = 0xFFFFF;

static bool isHandle(float value, uint32_t &id) {
  uint32_t bits = bitsOf(value);
  id = bits & handleMask;
  return (bits & ~handleMask) == handleBits;
}

using Kind = Warpgroup::Kind;

/// The numbers of `bytes` bytes; number i goes to `to[i * stride]`.
static void unpackBytes(const uint8_t *from, uint32_t bytes, Kind kind,
                        float *to, uint32_t stride) {
  if (kind == Kind::E4M3) {
    static const std::array<float, 256> numbers = [] {
      std::array<float, 256> made;
      for (uint32_t code = 0; code < 256; ++code)
        made[code] = fromE4M3(static_cast<uint8_t>(code));
      return made;
    }();
    for (uint32_t i = 0; i < bytes; ++i)
      to[i * stride] = numbers[from[i]];
    return;
  }
  for (uint32_t i = 0; i < bytes / 2; ++i) {
    uint16_t number;
    std::memcpy(&number, from + 2 * i, 2);
    to[i * stride] = kind == Kind::F16 ? fromF16(number) : fromBf16(number);
  }
}

/// Numbers of the product's steps of rows of 128 bytes that lie with the
/// 128-byte swizzle; number k of row r goes to `to[r * rowStride + k *
/// stride]`.
static void unpack(const uint8_t *from, uint32_t rows,
                   const Warpgroup::Product &product, float *to,
                   uint32_t rowStride, uint32_t stride) {
  for (uint32_t r = 0; r < rows; ++r)
    for (uint32_t chunk = product.first * 2; chunk < product.end * 2; ++chunk)
      unpackBytes(from + r * 128 + (chunk ^ (r & 7)) * 16, 16, product.kind,
                  to + r * rowStride + chunk * (product.depth() / 8) * stride,
                  stride);
}

/// Registers of a lane of the warpgroup, four for each of the product's steps,
/// to its rows.
static void unpackRegisters(const int32_t *registers, uint32_t lane,
                            Warpgroup::Product &product) {
  uint32_t row = lane / warpSize * 16 + lane % warpSize / 4;
  uint32_t depth = product.depth(), each = depth / Warpgroup::steps;
  for (uint32_t step = product.first; step < product.end; ++step)
    for (uint32_t r = 0; r < 4; ++r, ++registers) {
      uint8_t bytes[4];
      std::memcpy(bytes, registers, 4);
      unpackBytes(bytes, 4, product.kind,
                  product.left.data() + (row + r % 2 * 8) * depth +
                      step * each + (lane % 4 + r / 2 * 4) * (each / 8),
                  1);
    }
}

namespace {
/// The depth of two matrices, and the part of it that is multiplied.
struct Depth {
  uint32_t all, first, end;
};
} // namespace

/// sums += a b of `block` columns: a 64 x depth, b depth x `columns`, row by
/// row. Products of two numbers of 16 bits are exact, so fusing changes
/// nothing.
template <uint32_t block>
static inline __attribute__((always_inline)) void
multiplyBlock(float *sums, const float *a, const float *b, Depth depth,
              uint32_t columns) {
  for (uint32_t m = 0; m < Warpgroup::rows; ++m) {
    float row[block];
    for (uint32_t n = 0; n < block; ++n)
      row[n] = sums[m * columns + n];
    for (uint32_t k = depth.first; k < depth.end; ++k) {
      float factor = a[m * depth.all + k];
      for (uint32_t n = 0; n < block; ++n)
        row[n] += factor * b[k * columns + n];
    }
    for (uint32_t n = 0; n < block; ++n)
      sums[m * columns + n] = row[n];
  }
}

#ifdef __x86_64__
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void multiply(float *sums, const float *a, const float *b, Depth depth,
                     uint32_t columns) {
  uint32_t n = 0;
  for (; n + 64 <= columns; n += 64)
    multiplyBlock<64>(sums + n, a, b + n, depth, columns);
  for (; n < columns; n += 8)
    multiplyBlock<8>(sums + n, a, b + n, depth, columns);
}

Warpgroup &Multiprocessor::warpgroup(const char *site) {
  if (launch.threads % warpgroupSize)
    fail(site, text("works as a warpgroup, in a block of ", launch.threads,
                    " threads; it takes a multiple of ", warpgroupSize));
  return warpgroups[thread / warpgroupSize];
}

static uint32_t bitOf(uint32_t thread) {
  return 1u << thread % warpgroupSize / warpSize;
}

void Multiprocessor::wgmmaFence(const char *site) {
  warpgroup(site).fenced |= bitOf(thread);
}

void Multiprocessor::wgmmaCommit(const char *site) {
  Warpgroup &group = warpgroup(site);
  if (thread % warpSize == 0)
    ++group.groups[thread % warpgroupSize / warpSize];
}

void Multiprocessor::wgmma(float *d, const void *a, Steps steps, const void *b,
                           const float *c, int32_t columns, int32_t kind,
                           const char *site) {
  Warpgroup &group = warpgroup(site);
  if (steps.first < 0 || steps.count < 0 || steps.first + steps.count > 4)
    fail(site, text("multiplies ", steps.count, " steps from step ",
                    steps.first, "; there are four"));
  Wgmma mine = {d, a, b, c, steps};
  if (!meet({Act::Wgmma, site}, &mine))
    return;
  if (group.arrived && std::strcmp(group.site, site) != 0)
    fail(site, text("multiplies while other warps of its warpgroup do so at ",
                    quote(group.site), "; all four must do it together"));
  group.site = site;
  group.arrived |= bitOf(thread);
  if (group.arrived != Warpgroup::all) {
    wait();
    return;
  }
  group.arrived = 0;
  startProduct(group, static_cast<uint32_t>(columns), kind, site);
  uint32_t first = thread / warpgroupSize * 4;
  for (uint32_t warp = first; warp < first + 4; ++warp)
    dismiss(warp);
}

/// An operand, all rows of it, of which each warp accounts for a quarter.
size_t Multiprocessor::checkOperand(const void *at, uint32_t rows,
                                    const char *site) {
  if (!isShared(at) || sharedOffset(at) % 1024)
    fail(site, text("multiplies rows at ", describePlace(at),
                    "; they begin at a multiple of 1024 in shared memory"));
  size_t offset = sharedOffset(at);
  uint32_t bytes = rows * Warpgroup::rowBytes;
  if (offset + bytes > launch.sharedBytes)
    fail(site, text("multiplies ", bytes, " bytes at byte ", offset,
                    " of shared memory; the block has ", launch.sharedBytes,
                    " bytes"));
  uint32_t first = thread / warpgroupSize * warpgroupSize;
  for (uint32_t warp = 0; warp < 4; ++warp)
    failIfFound(shadow.readByTensorCore({offset + bytes / 4 * warp, bytes / 4,
                                         first + warp * warpSize, site}),
                site);
  return offset;
}

void Multiprocessor::startProduct(Warpgroup &group, uint32_t columns,
                                  int32_t kind, const char *site) {
  if (columns < 8 || columns > 256 || columns % 8)
    fail(site, text("multiplies by ", columns,
                    " columns; it takes a multiple of 8, at most 256"));
  if (kind != 0 && kind != 1 && kind != 3)
    fail(site, text("multiplies numbers of kind ", kind,
                    "; there are kinds 0 (bf16), 1 (f16) and 3 (e4m3)"));
  uint32_t first = thread / warpgroupSize * 4;
  auto of = [&](uint32_t lane) -> const Wgmma & {
    return *static_cast<const Wgmma *>(
        warps[first + lane / warpSize].meeting.deposits[lane % warpSize]);
  };
  for (uint32_t lane = 1; lane < warpgroupSize; ++lane)
    if ((!of(0).steps.count && of(lane).a != of(0).a) || of(lane).b != of(0).b)
      fail(site, "multiplies other rows than another thread of its "
                 "warpgroup; all must give the same");
  Warpgroup::Product product;
  product.kind = static_cast<Kind>(kind);
  if (Steps steps = of(0).steps; steps.count) {
    product.first = static_cast<uint32_t>(steps.first);
    product.end = product.first + static_cast<uint32_t>(steps.count);
    product.left.resize(Warpgroup::rows * product.depth());
    for (uint32_t lane = 0; lane < warpgroupSize; ++lane)
      unpackRegisters(static_cast<const int32_t *>(of(lane).a), lane, product);
  } else {
    product.a = checkOperand(of(0).a, Warpgroup::rows, site);
  }
  product.b = checkOperand(of(0).b, columns, site);
  product.columns = columns;
  product.group = group.groups[0];
  product.site = site;
  uint32_t id;
  if (isHandle(of(0).c[0], id)) {
    Warpgroup::Sums *sums = group.find(id);
    if (!sums || sums->columns != columns)
      fail(site, "adds to sums that are none of this warpgroup's products of "
                 "as many columns");
  } else {
    if (group.fenced != Warpgroup::all)
      fail(site, "adds to registers with no wgmma fence before; put one there");
    id = group.nextId++ & handleMask;
    Warpgroup::Sums sums = {id, columns, 0,
                            std::vector<float>(Warpgroup::rows * columns)};
    forSums(columns, [&](uint32_t lane, uint32_t i, size_t at) {
      sums.values[at] = of(lane).c[i];
    });
    group.sums.push_back(std::move(sums));
  }
  product.sums = id;
  float handle = floatOf(handleBits | id);
  for (uint32_t lane = 0; lane < warpgroupSize; ++lane)
    std::fill_n(of(lane).d, columns / 2, handle);
  if (counter)
    counter->mma(site);
  group.products.push_back(product);
  // With `late`, some read their operands when they are waited for.
  if (!options.late || random.below(2))
    finishProducts(group, product.group);
}

/// Computes what has not been, of groups up to `last`.
void Multiprocessor::finishProducts(Warpgroup &group, uint32_t last) {
  for (Warpgroup::Product &product : group.products) {
    if (product.isDone || product.group > last)
      continue;
    product.isDone = true;
    uint32_t depth = product.depth(), each = depth / Warpgroup::steps;
    const float *rows = product.left.data();
    if (product.left.empty()) {
      left.resize(Warpgroup::rows * depth);
      unpack(sharedBase + product.a, Warpgroup::rows, product, left.data(),
             depth, 1);
      rows = left.data();
    }
    right.resize(depth * product.columns);
    unpack(sharedBase + product.b, product.columns, product, right.data(), 1,
           product.columns);
    multiply(group.find(product.sums)->values.data(), rows, right.data(),
             {depth, product.first * each, product.end * each},
             product.columns);
  }
}

/// A warp has waited: until at most `pending` of its groups are on their way.
void Multiprocessor::waitForProducts(Warpgroup &group, uint32_t pending) {
  uint32_t warp = thread % warpgroupSize / warpSize;
  uint32_t committed = group.groups[warp];
  if (committed <= pending)
    return;
  uint32_t last = committed - pending - 1;
  finishProducts(group, last);
  for (Warpgroup::Product &product : group.products) {
    if (product.group > last || product.waited >> warp & 1)
      continue;
    product.waited |= 1u << warp;
    // The operands are read until now.
    auto note = [&](size_t offset, uint32_t rows) {
      uint32_t bytes = rows * Warpgroup::rowBytes / 4;
      shadow.readUntilNow({offset + bytes * warp, bytes,
                           thread / warpSize * warpSize, product.site});
    };
    if (product.left.empty())
      note(product.a, Warpgroup::rows);
    note(product.b, product.columns);
  }
  auto isOver = [](const Warpgroup::Product &product) {
    return product.waited == Warpgroup::all;
  };
  group.products.erase(
      std::remove_if(group.products.begin(), group.products.end(), isOver),
      group.products.end());
}

void Multiprocessor::wgmmaWait(int32_t pending, const char *site) {
  Warpgroup &group = warpgroup(site);
  if (pending < 0 || pending > 7)
    fail(site, text("waits until ", pending,
                    " groups of products are on their way; it takes 0 to 7"));
  if (!meet({Act::WgmmaWait, site}, nullptr))
    return;
  waitForProducts(group, static_cast<uint32_t>(pending));
  dismiss(thread / warpSize);
}

void Multiprocessor::wgmmaFinish(float *d, const float *c, int32_t count,
                                 const char *site) {
  Warpgroup &group = warpgroup(site);
  Finish mine = {d, c};
  if (!meet({Act::WgmmaWait, site}, &mine))
    return;
  waitForProducts(group, 0);
  uint32_t warp = thread % warpgroupSize / warpSize, id;
  for (const Warpgroup::Product &product : group.products)
    if (!(product.waited >> warp & 1))
      fail(site, text("finishes while the product at ", quote(product.site),
                      " is in no group; commit it first"));
  if (isHandle(deposit<Finish>(0).c[0], id)) {
    Warpgroup::Sums *sums = group.find(id);
    if (!sums || sums->columns != static_cast<uint32_t>(count) * 2)
      fail(site, "finishes sums that are none of this warpgroup's");
    forSums(sums->columns, [&](uint32_t lane, uint32_t i, size_t at) {
      if (lane / warpSize == warp)
        deposit<Finish>(lane % warpSize).d[i] = sums->values[at];
    });
    sums->taken |= 1u << warp;
    if (sums->taken == Warpgroup::all)
      group.sums.erase(group.sums.begin() + (sums - group.sums.data()));
  } else { // no product was added to them
    for (uint32_t lane = 0; lane < warpSize; ++lane)
      std::copy_n(deposit<Finish>(lane).c, count, deposit<Finish>(lane).d);
  }
  // Other instructions may have the registers now.
  group.fenced &= ~bitOf(thread);
  dismiss(thread / warpSize);
}

/// Fails where a write hits what a product reads that is not waited for.
void Multiprocessor::checkOverwrites(const SharedShadow::Access &access) {
  for (const Warpgroup &group : warpgroups)
    for (const Warpgroup::Product &product : group.products)
      if (product.reads(access.offset, access.bytes))
        fail(access.site, text("overwrites, in shared bytes ", access.offset,
                               " to ", access.offset + access.bytes - 1,
                               ", an operand of the wgmma on its way at ",
                               quote(product.site), "; wait for it first"));
}

void Multiprocessor::proxyFence() {
  uint32_t &lanes = fencing[thread / warpSize];
  lanes |= 1u << thread % warpSize;
  if (lanes != ~0u)
    return;
  lanes = 0;
  shadow.fence(thread / warpSize);
}

void Multiprocessor::maxRegisters(int32_t count, const char *site) {
  warpgroup(site);
  if (count < 24 || count > 256 || count % 8)
    fail(site, text("asks for ", count,
                    " registers; it takes a multiple of 8, 24 to 256"));
  if (!meet({Act::Registers, site}, nullptr))
    return;
  registers[thread / warpSize] = static_cast<uint32_t>(count);
  uint32_t sum = 0;
  for (uint32_t warp = 0; warp < numWarps; ++warp)
    sum += registers[warp] * warpSize;
  // What the block started with, at most: a multiple of 8 for each thread.
  uint32_t most = numRegisters / launch.threads / 8 * 8 * launch.threads;
  if (sum > most)
    fail(site, text("asks for registers so that the block has ", sum,
                    "; it started with ", most));
  dismiss(thread / warpSize);
}

} // namespace moe::emu

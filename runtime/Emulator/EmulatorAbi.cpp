#include "runtime/Emulator/EmulatorAbi.h"

#include "runtime/Emulator/Multiprocessor.h"
#include "runtime/Emulator/Numbers.h"

#include <cmath>
#include <cstring>

using moe::emu::Multiprocessor;

static Multiprocessor &current() { return Multiprocessor::current(); }

int32_t moegpu_emu_thread_id() {
  return static_cast<int32_t>(current().threadId());
}

int32_t moegpu_emu_block_id() {
  return static_cast<int32_t>(current().blockId());
}

int32_t moegpu_emu_grid_size() {
  return static_cast<int32_t>(current().gridSize());
}

void *moegpu_emu_shared() { return current().shared(); }

void *moegpu_emu_access(void *address, int32_t bytes, int32_t is_store,
                        const char *site) {
  return current().access(address, bytes, is_store != 0, site);
}

void moegpu_emu_barrier(int32_t id, int32_t threads, const char *site) {
  current().barrier(id, threads, site);
}

int32_t moegpu_emu_shuffle(int32_t value, int32_t lane, int32_t kind,
                           const char *site) {
  return current().shuffle(value, lane, kind, site);
}

int32_t moegpu_emu_ballot(int32_t predicate, const char *site) {
  return current().ballot(predicate, site);
}

void moegpu_emu_mma_m16n8k16(float *d, const int32_t *a, const int32_t *b,
                             const float *c, int32_t kind, const char *site) {
  current().mma(d, a, b, c, kind, site);
}

void moegpu_emu_mma_m16n8k8(float *d, const int32_t *a, const int32_t *b,
                            const float *c, const char *site) {
  current().mma(d, a, b, c, 2, site);
}

void moegpu_emu_mma_m16n8k32(float *d, const int32_t *a, const int32_t *b,
                             const float *c, const char *site) {
  current().mma(d, a, b, c, 3, site);
}

void moegpu_emu_ldmatrix(int32_t *registers, void *shared, int32_t count,
                         int32_t transposed, const char *site) {
  current().ldmatrix(registers, shared, count, transposed != 0, site);
}

void moegpu_emu_async_copy(void *shared, const void *global, int32_t size,
                           int32_t valid, const char *site) {
  current().asyncCopy(shared, global, size, valid, site);
}

void moegpu_emu_async_commit(const char *) { current().asyncCommit(); }

void moegpu_emu_async_wait(int32_t pending, const char *site) {
  current().asyncWait(pending, site);
}

void moegpu_emu_mbarrier_init(void *barrier, int32_t count, const char *site) {
  current().barrierInit(barrier, count, site);
}

void moegpu_emu_mbarrier_arrive(void *barrier, int32_t bytes,
                                const char *site) {
  current().barrierArrive(barrier, bytes, site);
}

void moegpu_emu_mbarrier_arrive_copies(void *barrier, const char *site) {
  current().barrierArriveCopies(barrier, site);
}

void moegpu_emu_mbarrier_wait(void *barrier, int32_t parity, const char *site) {
  current().barrierWait(barrier, parity, site);
}

void moegpu_emu_tensor_load(const void *map, int32_t matrix, int32_t row,
                            int32_t depth, void *shared, void *barrier,
                            const char *site) {
  const int32_t at[3] = {depth, row, matrix};
  current().tensorLoad(map, at, shared, barrier, site);
}

void moegpu_emu_proxy_fence() { current().proxyFence(); }

void moegpu_emu_max_registers(int32_t count, const char *site) {
  current().maxRegisters(count, site);
}

void moegpu_emu_wgmma(float *d, const void *a, const void *b, const float *c,
                      int32_t columns, int32_t kind, const char *site) {
  current().wgmma(d, a, {}, b, c, columns, kind, site);
}

void moegpu_emu_wgmma_registers(float *d, const int32_t *a, const void *b,
                                const float *c, int32_t columns, int32_t first,
                                int32_t steps, int32_t kind, const char *site) {
  current().wgmma(d, a, {first, steps}, b, c, columns, kind, site);
}

void moegpu_emu_wgmma_fence(const char *site) { current().wgmmaFence(site); }

void moegpu_emu_wgmma_commit(const char *site) { current().wgmmaCommit(site); }

void moegpu_emu_wgmma_wait(int32_t pending, const char *site) {
  current().wgmmaWait(pending, site);
}

void moegpu_emu_wgmma_finish(float *d, const float *c, int32_t count,
                             const char *site) {
  current().wgmmaFinish(d, c, count, site);
}

int32_t moegpu_emu_atomic_add_i32(void *address, int32_t value,
                                  const char *site) {
  return current().atomicAdd(static_cast<int32_t *>(address), value, site);
}

float moegpu_emu_atomic_add_f32(void *address, float value, const char *site) {
  return current().atomicAdd(static_cast<float *>(address), value, site);
}

int32_t moegpu_emu_round_tf32(float x) {
  return static_cast<int32_t>(moe::emu::bitsOf(moe::emu::toTf32(x)));
}

int32_t moegpu_emu_round_e4m3(float first, float second, float third,
                              float fourth) {
  uint32_t made = 0;
  for (float number : {fourth, third, second, first})
    made = made << 8 | moe::emu::toE4M3(number);
  return static_cast<int32_t>(made);
}

int32_t moegpu_emu_packed_fma(int32_t a, int32_t b, int32_t c, int32_t kind) {
  auto number = [&](int32_t pair, int which) {
    uint16_t bits =
        static_cast<uint16_t>(static_cast<uint32_t>(pair) >> 16 * which);
    return double(kind == 1 ? moe::emu::fromF16(bits)
                            : moe::emu::fromBf16(bits));
  };
  uint32_t made = 0;
  for (int which : {0, 1}) {
    // Exact in f64 unless the operands are very far apart.
    double sum = number(a, which) * number(b, which) + number(c, which);
    float single = moe::emu::roundToOdd(sum);
    uint16_t half =
        kind == 1 ? moe::emu::toF16(single) : moe::emu::toBf16(single);
    made |= uint32_t(half) << 16 * which;
  }
  return static_cast<int32_t>(made);
}

int32_t moegpu_emu_permute_bytes(int32_t low, int32_t high, int32_t selector) {
  uint64_t all = uint64_t(uint32_t(high)) << 32 | uint32_t(low);
  uint32_t made = 0;
  for (int i = 0; i < 4; ++i)
    made |= uint32_t(all >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return static_cast<int32_t>(made);
}

/// The GPU's approximations take and give zero for denormal numbers.
static float flush(float x) {
  return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x;
}

/// An approximation for `x`, off by `units` in the last place where the launch
/// wants that, always the same way for the same `x`. What PTX says is exact
/// stays so.
static float roughen(float value, float x, uint32_t units) {
  uint64_t roughness = Multiprocessor::roughness();
  if (!roughness || x == 0 || value == 0 || !std::isfinite(value))
    return value;
  uint32_t bits = moe::emu::bitsOf(value);
  uint64_t mixed = (moe::emu::bitsOf(x) ^ roughness << 32) + roughness;
  mixed = (mixed ^ mixed >> 31) * 0x9E3779B97F4A7C15;
  bits = mixed >> 63 ? bits + units : bits - units;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float moegpu_emu_exp2(float x) {
  x = flush(x);
  return flush(roughen(flush(std::exp2(x)), x, 2));
}

float moegpu_emu_reciprocal(float x) {
  x = flush(x);
  return flush(roughen(flush(1.0f / x), x, 1));
}

namespace moe::emu {

const rt::RuntimeSymbol *emulatorSymbols() {
#define SYMBOL(function)                                                       \
  {                                                                            \
    #function, reinterpret_cast<void *>(&function)                             \
  }
  static const rt::RuntimeSymbol symbols[] = {
      SYMBOL(moegpu_emu_thread_id),
      SYMBOL(moegpu_emu_block_id),
      SYMBOL(moegpu_emu_grid_size),
      SYMBOL(moegpu_emu_shared),
      SYMBOL(moegpu_emu_access),
      SYMBOL(moegpu_emu_barrier),
      SYMBOL(moegpu_emu_shuffle),
      SYMBOL(moegpu_emu_ballot),
      SYMBOL(moegpu_emu_mma_m16n8k16),
      SYMBOL(moegpu_emu_ldmatrix),
      SYMBOL(moegpu_emu_async_copy),
      SYMBOL(moegpu_emu_async_commit),
      SYMBOL(moegpu_emu_async_wait),
      SYMBOL(moegpu_emu_atomic_add_i32),
      SYMBOL(moegpu_emu_atomic_add_f32),
      SYMBOL(moegpu_emu_exp2),
      SYMBOL(moegpu_emu_mma_m16n8k8),
      SYMBOL(moegpu_emu_mma_m16n8k32),
      SYMBOL(moegpu_emu_round_tf32),
      SYMBOL(moegpu_emu_round_e4m3),
      SYMBOL(moegpu_emu_packed_fma),
      SYMBOL(moegpu_emu_permute_bytes),
      SYMBOL(moegpu_emu_reciprocal),
      SYMBOL(moegpu_emu_mbarrier_init),
      SYMBOL(moegpu_emu_mbarrier_arrive),
      SYMBOL(moegpu_emu_mbarrier_arrive_copies),
      SYMBOL(moegpu_emu_mbarrier_wait),
      SYMBOL(moegpu_emu_tensor_load),
      SYMBOL(moegpu_emu_proxy_fence),
      SYMBOL(moegpu_emu_max_registers),
      SYMBOL(moegpu_emu_wgmma),
      SYMBOL(moegpu_emu_wgmma_registers),
      SYMBOL(moegpu_emu_wgmma_fence),
      SYMBOL(moegpu_emu_wgmma_commit),
      SYMBOL(moegpu_emu_wgmma_wait),
      SYMBOL(moegpu_emu_wgmma_finish),
      {nullptr, nullptr}};
#undef SYMBOL
  return symbols;
}

} // namespace moe::emu

#ifndef MOE_RUNTIME_EMULATOR_EMULATORABI_H
#define MOE_RUNTIME_EMULATOR_EMULATORABI_H

// What kernels call that `moegpu` was lowered to for the emulator, one function
// for each operation of the dialect (dialects/MoEGPU). Every GPU thread is a
// fiber; a call may run others before it returns. `site` names the operation
// for messages and counts; it lives as long as the kernel.

#include <cstdint>

extern "C" {
// Indices. Blocks and grids have one dimension.
int32_t moegpu_emu_thread_id();
int32_t moegpu_emu_block_id();
int32_t moegpu_emu_grid_size();

/// The block's shared memory, from its first byte. Aligned to 256 KiB, so that
/// the low 18 bits of an address are its offset.
void *moegpu_emu_shared();

/// A thread is about to read or write `bytes` (1, 2, 4, 8, 16) at `address`, of
/// global or shared memory. Returns where to do so, `address`. After an error
/// neither this nor any other function returns; the thread is left for good.
void *moegpu_emu_access(void *address, int32_t bytes, int32_t is_store,
                        const char *site);

/// All `threads` threads (0: of the block) meet at barrier `id`.
void moegpu_emu_barrier(int32_t id, int32_t threads, const char *site);

/// The value of another lane of the warp: `kind` 0 xor, 1 up, 2 down, 3 idx.
/// `lane` counts modulo 32; out of the warp: one's own.
int32_t moegpu_emu_shuffle(int32_t value, int32_t lane, int32_t kind,
                           const char *site);

/// Bit i: what lane i says.
int32_t moegpu_emu_ballot(int32_t predicate, const char *site);

/// Fragments of mma.sync.m16n8k16 (`kind` 0 bf16, 1 f16), as the PTX manual
/// lays them out: a 4, b 2 registers of two numbers, c and d 4 floats.
void moegpu_emu_mma_m16n8k16(float *d, const int32_t *a, const int32_t *b,
                             const float *c, int32_t kind, const char *site);

/// Fragments of mma.sync.m16n8k8 of tf32 numbers, one to a register.
void moegpu_emu_mma_m16n8k8(float *d, const int32_t *a, const int32_t *b,
                            const float *c, const char *site);

/// Fragments of mma.sync.m16n8k32 of E4M3 numbers, four to a register.
void moegpu_emu_mma_m16n8k32(float *d, const int32_t *a, const int32_t *b,
                             const float *c, const char *site);

/// ldmatrix of `count` (1, 2, 4) matrices of 8 x 8 16-bit numbers; lane i gives
/// the row `shared`, `registers` gets `count` values.
void moegpu_emu_ldmatrix(int32_t *registers, void *shared, int32_t count,
                         int32_t transposed, const char *site);

/// cp.async of `size` (4, 8, 16) bytes, of which the first `valid` are read and
/// the rest is zero.
void moegpu_emu_async_copy(void *shared, const void *global, int32_t size,
                           int32_t valid, const char *site);
void moegpu_emu_async_commit(const char *site);
/// Until at most `pending` of the thread's groups are on their way.
void moegpu_emu_async_wait(int32_t pending, const char *site);

/// mbarrier.init, .arrive (with the `bytes` that it expects, or 0), .try_wait
/// until the phase of `parity` has ended, and cp.async.mbarrier.arrive.noinc.
void moegpu_emu_mbarrier_init(void *barrier, int32_t count, const char *site);
void moegpu_emu_mbarrier_arrive(void *barrier, int32_t bytes, const char *site);
void moegpu_emu_mbarrier_arrive_copies(void *barrier, const char *site);
void moegpu_emu_mbarrier_wait(void *barrier, int32_t parity, const char *site);

/// cp.async.bulk.tensor of three dimensions, by a map of TensorMap.h.
void moegpu_emu_tensor_load(const void *map, int32_t matrix, int32_t row,
                            int32_t depth, void *shared, void *barrier,
                            const char *site);
/// fence.proxy.async; counts for a warp when all its lanes have passed it.
void moegpu_emu_proxy_fence();
/// setmaxnreg.
void moegpu_emu_max_registers(int32_t count, const char *site);

/// Four wgmma.m64nNk16 (N `columns`; `kind` 0 bf16, 1 f16), or m64nNk32 (3
/// e4m3): 64 rows `a` times rows `b`, 128 bytes each. `d` and `c` are N / 2
/// floats of the thread; until they are finished, `d` holds NaNs that name the
/// sums.
void moegpu_emu_wgmma(float *d, const void *a, const void *b, const float *c,
                      int32_t columns, int32_t kind, const char *site);
/// The same with the rows `a` in registers: `steps` steps of four, each as for
/// mma.m16n8k16 or m16n8k32, from step `first` of the rows `b` on.
void moegpu_emu_wgmma_registers(float *d, const int32_t *a, const void *b,
                                const float *c, int32_t columns, int32_t first,
                                int32_t steps, int32_t kind, const char *site);
void moegpu_emu_wgmma_fence(const char *site);
void moegpu_emu_wgmma_commit(const char *site);
void moegpu_emu_wgmma_wait(int32_t pending, const char *site);
/// Waits for all, and puts the sums that `c` names in `d`, `count` of a thread.
void moegpu_emu_wgmma_finish(float *d, const float *c, int32_t count,
                             const char *site);

/// Adds; returns what was there.
int32_t moegpu_emu_atomic_add_i32(void *address, int32_t value,
                                  const char *site);
float moegpu_emu_atomic_add_f32(void *address, float value, const char *site);

/// Bits of the nearest tf32 number, ties away from zero (cvt.rna.tf32).
int32_t moegpu_emu_round_tf32(float x);
/// Four of the nearest E4M3 numbers, ties to even, at most 448, the first in
/// the lowest byte (cvt.rn.satfinite.e4m3x2.f32).
int32_t moegpu_emu_round_e4m3(float first, float second, float third,
                              float fourth);
/// a b + c of two numbers each (`kind` 0 bf16, 1 f16), rounded once.
int32_t moegpu_emu_packed_fma(int32_t a, int32_t b, int32_t c, int32_t kind);
/// prmt without its signs: byte i is byte (selector >> 4 i) % 8 of both.
int32_t moegpu_emu_permute_bytes(int32_t low, int32_t high, int32_t selector);

/// Approximations as wide as the GPU's.
float moegpu_emu_exp2(float x);
float moegpu_emu_reciprocal(float x);
} // extern "C"

#endif // MOE_RUNTIME_EMULATOR_EMULATORABI_H

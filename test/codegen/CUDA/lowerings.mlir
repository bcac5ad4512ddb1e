// RUN: moe-opt %s --moegpu-to-nvvm | FileCheck %s --check-prefix=GPU
// RUN: moe-opt %s --moegpu-to-emulator | FileCheck %s --check-prefix=EMU

// Every op of the dialect in both lowerings.

// GPU:       llvm.mlir.global external @moegpu_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// GPU-LABEL: llvm.func @all(%arg0: !llvm.ptr<1>, %arg1: i32)
// GPU-SAME:    nvvm.kernel, nvvm.maxntid = array<i32: 64>, nvvm.minctasm = 1 : i32

// EMU-DAG:   llvm.mlir.global internal constant @all.site4("all #4 load streaming\00")
// EMU-LABEL: llvm.func @all(%arg0: !llvm.ptr) {
// EMU:         %[[P:.*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// EMU:         %[[Q:.*]] = llvm.load %[[P]] : !llvm.ptr -> !llvm.ptr
// EMU:         llvm.addrspacecast %[[Q]] : !llvm.ptr to !llvm.ptr<1>
moegpu.kernel @all(%x: !llvm.ptr<1>, %n: i32) threads 64 shared 4096 {
  // GPU: nvvm.read.ptx.sreg.tid.x
  // EMU: llvm.call @moegpu_emu_thread_id() : () -> i32
  %thread = moegpu.thread_id
  // GPU: nvvm.read.ptx.sreg.ctaid.x
  // EMU: llvm.call @moegpu_emu_block_id()
  %block = moegpu.block_id
  // GPU: nvvm.read.ptx.sreg.nctaid.x
  // EMU: llvm.call @moegpu_emu_grid_size()
  %grid = moegpu.grid_size
  // GPU: %[[B:.*]] = llvm.mlir.addressof @moegpu_shared : !llvm.ptr<3>
  // GPU: llvm.getelementptr %[[B]][1024]
  // EMU: %[[S:.*]] = llvm.call @moegpu_emu_shared()
  // EMU: llvm.getelementptr %[[S]][1024]
  %s = moegpu.shared 1024 : !llvm.ptr<3>
  // GPU: llvm.inline_asm {{.*}}"ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {$0, $1, $2, $3}, [$4];"
  // GPU: vector.bitcast %{{.*}} : vector<4xi32> to vector<8xbf16>
  // EMU: %[[SITE:.*]] = llvm.mlir.addressof @all.site4
  // EMU: %[[A:.*]] = llvm.call @moegpu_emu_access(%{{.*}}, %{{.*}}, %{{.*}}, %[[SITE]])
  // EMU: llvm.load %[[A]] {alignment = 1 : i64} : !llvm.ptr -> vector<8xbf16>
  %w = moegpu.load %x streaming : !llvm.ptr<1> -> vector<8xbf16>
  // GPU: llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr<1> -> i32
  // EMU: llvm.call @moegpu_emu_access
  %i = moegpu.load %x : !llvm.ptr<1> -> i32
  // GPU: llvm.store %{{.*}} {alignment = 16 : i64} : vector<8xbf16>, !llvm.ptr<3>
  // EMU: llvm.call @moegpu_emu_access
  // EMU: llvm.store
  moegpu.store %w, %s : vector<8xbf16>, !llvm.ptr<3>
  // GPU: llvm.atomicrmw add %{{.*}} syncscope("device") monotonic : !llvm.ptr<3>, i32
  // EMU: llvm.call @moegpu_emu_atomic_add_i32
  %old = moegpu.atomic_add %i, %s : i32, !llvm.ptr<3>
  // GPU: nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg, %{{.*}}
  // EMU: llvm.call @moegpu_emu_async_copy
  moegpu.async_copy %x to %s size 16 valid %n : !llvm.ptr<1>, !llvm.ptr<3>
  // GPU: nvvm.cp.async.commit.group
  // EMU: llvm.call @moegpu_emu_async_commit
  moegpu.async_commit
  // GPU: nvvm.cp.async.wait.group 1
  // EMU: llvm.call @moegpu_emu_async_wait
  moegpu.async_wait 1
  // GPU: nvvm.barrier
  // EMU: llvm.call @moegpu_emu_barrier
  moegpu.barrier
  // GPU: nvvm.shfl.sync bfly
  // EMU: llvm.call @moegpu_emu_shuffle
  %other = moegpu.shuffle xor %i, %thread : i32
  %true = arith.constant true
  // GPU: nvvm.vote.sync ballot
  // EMU: llvm.call @moegpu_emu_ballot
  %bits = moegpu.ballot %true
  // GPU: nvvm.ldmatrix %{{.*}} {eltType = {{.*}}b16>, layout = #nvvm.mma_layout<row>, num = 4 : i32
  // EMU: llvm.call @moegpu_emu_ldmatrix
  %a = moegpu.load_matrix %s : !llvm.ptr<3> -> vector<4xi32>
  // GPU: nvvm.ldmatrix %{{.*}} {eltType = {{.*}}b16>, layout = #nvvm.mma_layout<col>, num = 2 : i32
  // EMU: llvm.call @moegpu_emu_ldmatrix
  %b = moegpu.load_matrix %s transposed : !llvm.ptr<3> -> vector<2xi32>
  %c = arith.constant dense<0.0> : vector<4xf32>
  // GPU: nvvm.mma.sync A[{{.*}}] B[{{.*}}] C[{{.*}}]
  // EMU: llvm.call @moegpu_emu_mma_m16n8k16
  %d = moegpu.mma bf16 %a, %b, %c
  %one = arith.constant 1.0 : f32
  // GPU: nvvm.mma.sync A[{{.*}}] B[{{.*}}] C[{{.*}}] {{.*}}tf32{{.*}}m = 16, n = 8, k = 8
  // EMU: llvm.call @moegpu_emu_mma_m16n8k8
  %d32 = moegpu.mma tf32 %a, %b, %c
  // GPU: llvm.inline_asm {{.*}}"cvt.rna.tf32.f32 $0, $1;"
  // EMU: llvm.call @moegpu_emu_round_tf32
  %rounded = moegpu.round_tf32 %one
  // GPU: llvm.inline_asm {{.*}}"fma.rn.bf16x2 $0, $1, $2, $3;"
  // EMU: llvm.call @moegpu_emu_packed_fma
  %two = moegpu.packed_fma bf16 %i, %i, %thread
  // GPU: llvm.inline_asm {{.*}}"fma.rn.f16x2 $0, $1, $2, $3;"
  // EMU: llvm.call @moegpu_emu_packed_fma
  %halves = moegpu.packed_fma f16 %i, %i, %thread
  // GPU: llvm.inline_asm {{.*}}"prmt.b32 $0, $1, $2, $3;"
  // EMU: llvm.call @moegpu_emu_permute_bytes
  %bytes = moegpu.permute_bytes %i, %i, %thread
  // GPU: llvm.inline_asm {{.*}}"ex2.approx.ftz.f32 $0, $1;"
  // EMU: llvm.call @moegpu_emu_exp2
  %e = moegpu.exp2 %one
  // GPU: llvm.inline_asm {{.*}}"rcp.approx.ftz.f32 $0, $1;"
  // EMU: llvm.call @moegpu_emu_reciprocal
  %r = moegpu.reciprocal %e
  // GPU: llvm.return
  // EMU: llvm.return
  moegpu.return
}

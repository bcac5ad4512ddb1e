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
  // GPU: llvm.inline_asm has_side_effects {{.*}}"mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
  // EMU: llvm.call @moegpu_emu_mma_m16n8k32
  %d8 = moegpu.mma e4m3 %a, %b, %c
  // GPU: llvm.inline_asm {{.*}}cvt.rn.satfinite.e4m3x2.f32 low, $2, $1;
  // EMU: llvm.call @moegpu_emu_round_e4m3
  %codes = moegpu.round_e4m3 %one, %one, %one, %one
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

// What sm_90a has.

// GPU-LABEL: llvm.func @hopper(%arg0: !llvm.ptr {llvm.align = 128 : i64, llvm.byval = !llvm.array<128 x i8>, nvvm.grid_constant}, %arg1: i32)
// EMU-LABEL: llvm.func @hopper(%arg0: !llvm.ptr) {
// EMU:         %[[MAP:.*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
moegpu.kernel @hopper(%map: !llvm.ptr, %i: i32) threads 128 shared 49160 {
  %to = moegpu.shared 0 : !llvm.ptr<3>
  %b = moegpu.shared 16384 : !llvm.ptr<3>
  %barrier = moegpu.shared 49152 : !llvm.ptr<3>
  // GPU: nvvm.mbarrier.init %[[BAR:.*]], %{{.*}} : !llvm.ptr<3>, i32
  // EMU: llvm.call @moegpu_emu_mbarrier_init
  moegpu.mbarrier_init %barrier count 129 : !llvm.ptr<3>
  // GPU: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  // EMU: llvm.call @moegpu_emu_proxy_fence
  moegpu.proxy_fence
  // GPU: nvvm.barrier id = %arg1 number_of_threads = %{{.*}}
  // EMU: llvm.call @moegpu_emu_barrier
  moegpu.named_barrier %i threads 128
  // GPU: nvvm.mbarrier.arrive.expect_tx %[[BAR]]
  // EMU: llvm.call @moegpu_emu_mbarrier_arrive(
  moegpu.mbarrier_expect %barrier bytes 32768 : !llvm.ptr<3>
  // GPU: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %arg0, %[[BAR]], box[%arg1, %arg1, %arg1] :
  // EMU: llvm.call @moegpu_emu_tensor_load(%[[MAP]]
  moegpu.tensor_load %map[%i, %i, %i] to %to, %barrier : !llvm.ptr, !llvm.ptr<3>
  // GPU: nvvm.cp.async.mbarrier.arrive %[[BAR]] {noinc = true}
  // EMU: llvm.call @moegpu_emu_mbarrier_arrive_copies
  moegpu.mbarrier_arrive_copies %barrier : !llvm.ptr<3>
  // GPU: nvvm.mbarrier.arrive %[[BAR]]
  // EMU: llvm.call @moegpu_emu_mbarrier_arrive(
  moegpu.mbarrier_arrive %barrier : !llvm.ptr<3>
  // GPU: nvvm.mbarrier.try_wait.parity %[[BAR]], %arg1
  // EMU: llvm.call @moegpu_emu_mbarrier_wait
  moegpu.mbarrier_wait %barrier, %i : !llvm.ptr<3>
  // GPU: nvvm.setmaxregister increase 224
  // EMU: llvm.call @moegpu_emu_max_registers
  moegpu.max_registers increase 224
  // GPU: nvvm.setmaxregister decrease 56
  // EMU: llvm.call @moegpu_emu_max_registers
  moegpu.max_registers decrease 56
  %c = arith.constant dense<0.0> : vector<16xf32>
  // GPU: nvvm.wgmma.fence.aligned
  // EMU: llvm.call @moegpu_emu_wgmma_fence
  moegpu.wgmma_fence
  // GPU: %[[AT:.*]] = llvm.ptrtoint
  // GPU: %[[LOW:.*]] = arith.andi %[[AT]], %{{.*}} : i64
  // GPU: %[[UNITS:.*]] = arith.shrui %[[LOW]]
  // GPU: arith.ori %[[UNITS]]
  // Sums from zero: the first product does not look at them.
  // GPU: nvvm.wgmma.mma_async %{{.*}}, <m = 64, n = 32, k = 16>, D[<f32>, <zero>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>]
  // GPU-COUNT-3: nvvm.wgmma.mma_async %{{.*}}, <m = 64, n = 32, k = 16>, D[<f32>, <one>], A[<bf16>, <one>, <row>], B[<bf16>, <one>, <col>]
  // EMU: llvm.call @moegpu_emu_wgmma(
  %d = moegpu.wgmma bf16 %to, %b, %c : !llvm.ptr<3>, vector<16xf32>
  // GPU: nvvm.wgmma.mma_async {{.*}}A[<f16>
  // EMU: llvm.call @moegpu_emu_wgmma(
  %e = moegpu.wgmma f16 %to, %b, %d : !llvm.ptr<3>, vector<16xf32>
  // GPU: llvm.inline_asm has_side_effects "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {$0, {{.*}}, $15}, {$16, $17, $18, $19}, $20, 1, 1, 1, 0;", "=f,{{.*}},r,r,r,r,l,0,{{.*}},15"
  // GPU: llvm.inline_asm has_side_effects "wgmma.mma_async
  // EMU: llvm.call @moegpu_emu_wgmma_registers(
  %rows = arith.constant dense<0> : vector<8xi32>
  %f = moegpu.wgmma_registers f16 %rows, %b from 1, %e : vector<8xi32>, !llvm.ptr<3>, vector<16xf32>
  // GPU-COUNT-4: nvvm.wgmma.mma_async %{{.*}}, <m = 64, n = 32, k = 32>, D[<f32>, <one>], A[<e4m3>, <one>, <row>], B[<e4m3>, <one>, <col>]
  // EMU: llvm.call @moegpu_emu_wgmma(
  %g = moegpu.wgmma e4m3 %to, %b, %f : !llvm.ptr<3>, vector<16xf32>
  // GPU: llvm.inline_asm has_side_effects "wgmma.mma_async.sync.aligned.m64n32k32.f32.e4m3.e4m3 {$0, {{.*}}, $15}, {$16, $17, $18, $19}, $20, 1, 1, 1;", "=f,{{.*}},r,r,r,r,l,0,{{.*}},15"
  // GPU: llvm.inline_asm has_side_effects "wgmma.mma_async
  // EMU: llvm.call @moegpu_emu_wgmma_registers(
  %h = moegpu.wgmma_registers e4m3 %rows, %b from 2, %g : vector<8xi32>, !llvm.ptr<3>, vector<16xf32>
  // GPU: llvm.inline_asm has_side_effects "wgmma.mma_async{{.*}} {$16, $17, $18, $19}, $20, 0, 1, 1, 0;"
  // GPU: llvm.inline_asm has_side_effects "wgmma.mma_async{{.*}} {$16, $17, $18, $19}, $20, 1, 1, 1, 0;"
  %z = moegpu.wgmma_registers f16 %rows, %b from 1, %c : vector<8xi32>, !llvm.ptr<3>, vector<16xf32>
  // GPU: nvvm.wgmma.commit.group.sync.aligned
  // EMU: llvm.call @moegpu_emu_wgmma_commit
  moegpu.wgmma_commit
  // GPU: nvvm.wgmma.wait.group.sync.aligned 1
  // EMU: llvm.call @moegpu_emu_wgmma_wait
  moegpu.wgmma_wait 1
  // GPU: llvm.inline_asm has_side_effects "wgmma.wait_group.sync.aligned 0;", "=f,{{.*}},0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"
  // EMU: llvm.call @moegpu_emu_wgmma_finish
  %sums = moegpu.wgmma_finish %h : vector<16xf32>
  moegpu.return
}

// RUN: moe-opt %s | moe-opt | FileCheck %s

// CHECK-LABEL: moegpu.kernel @copy(%{{.*}}: !llvm.ptr<1>, %{{.*}}: !llvm.ptr<1>) threads 128 shared 0 {
moegpu.kernel @copy(%from: !llvm.ptr<1>, %to: !llvm.ptr<1>) threads 128 shared 0 {
  moegpu.return
}

// CHECK-LABEL: moegpu.kernel @all
// CHECK-SAME:    threads 64 shared 4096 {
moegpu.kernel @all(%x: !llvm.ptr<1>, %n: i32) threads 64 shared 4096 {
  // CHECK: %[[T:.*]] = moegpu.thread_id
  %thread = moegpu.thread_id
  // CHECK: moegpu.block_id
  %block = moegpu.block_id
  // CHECK: moegpu.grid_size
  %grid = moegpu.grid_size
  // CHECK: %[[S:.*]] = moegpu.shared 1024 : !llvm.ptr<3>
  %s = moegpu.shared 1024 : !llvm.ptr<3>
  // CHECK: %[[W:.*]] = moegpu.load %{{.*}} streaming : !llvm.ptr<1> -> vector<8xbf16>
  %w = moegpu.load %x streaming : !llvm.ptr<1> -> vector<8xbf16>
  // CHECK: %[[I:.*]] = moegpu.load %{{.*}} : !llvm.ptr<1> -> i32
  %i = moegpu.load %x : !llvm.ptr<1> -> i32
  // CHECK: moegpu.store %[[W]], %[[S]] : vector<8xbf16>, !llvm.ptr<3>
  moegpu.store %w, %s : vector<8xbf16>, !llvm.ptr<3>
  // CHECK: moegpu.atomic_add %[[I]], %[[S]] : i32, !llvm.ptr<3>
  %old = moegpu.atomic_add %i, %s : i32, !llvm.ptr<3>
  // CHECK: moegpu.async_copy %{{.*}} to %[[S]] size 16 valid %{{.*}} : !llvm.ptr<1>, !llvm.ptr<3>
  moegpu.async_copy %x to %s size 16 valid %n : !llvm.ptr<1>, !llvm.ptr<3>
  // CHECK: moegpu.async_commit
  moegpu.async_commit
  // CHECK: moegpu.async_wait 1
  moegpu.async_wait 1
  // CHECK: moegpu.barrier
  moegpu.barrier
  // CHECK: moegpu.shuffle xor %[[I]], %[[T]] : i32
  %other = moegpu.shuffle xor %i, %thread : i32
  %true = arith.constant true
  // CHECK: moegpu.ballot
  %bits = moegpu.ballot %true
  // CHECK: %[[A:.*]] = moegpu.load_matrix %[[S]] : !llvm.ptr<3> -> vector<4xi32>
  %a = moegpu.load_matrix %s : !llvm.ptr<3> -> vector<4xi32>
  // CHECK: %[[B:.*]] = moegpu.load_matrix %[[S]] transposed : !llvm.ptr<3> -> vector<2xi32>
  %b = moegpu.load_matrix %s transposed : !llvm.ptr<3> -> vector<2xi32>
  %c = arith.constant dense<0.0> : vector<4xf32>
  // CHECK: moegpu.mma bf16 %[[A]], %[[B]], %{{.*}}
  %d = moegpu.mma bf16 %a, %b, %c
  %one = arith.constant 1.0 : f32
  // CHECK: moegpu.mma tf32 %[[A]], %[[B]], %{{.*}}
  %d32 = moegpu.mma tf32 %a, %b, %c
  // CHECK: moegpu.mma e4m3 %[[A]], %[[B]], %{{.*}}
  %d8 = moegpu.mma e4m3 %a, %b, %c
  // CHECK: moegpu.round_e4m3 %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}
  %codes = moegpu.round_e4m3 %one, %one, %one, %one
  // CHECK: moegpu.round_tf32
  %rounded = moegpu.round_tf32 %one
  // CHECK: moegpu.packed_fma f16 %[[I]], %[[I]], %[[T]]
  %two = moegpu.packed_fma f16 %i, %i, %thread
  // CHECK: moegpu.permute_bytes %[[I]], %[[I]], %[[T]]
  %bytes = moegpu.permute_bytes %i, %i, %thread
  // CHECK: moegpu.exp2
  %e = moegpu.exp2 %one
  // CHECK: moegpu.reciprocal
  %r = moegpu.reciprocal %e
  moegpu.return
}

// CHECK-LABEL: moegpu.kernel @hopper(%{{.*}}: !llvm.ptr, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32)
moegpu.kernel @hopper(%map: !llvm.ptr, %matrix: i32, %row: i32, %depth: i32) threads 128 shared 49160 {
  // CHECK: %[[TO:.*]] = moegpu.shared 0
  %to = moegpu.shared 0 : !llvm.ptr<3>
  // CHECK: %[[BARRIER:.*]] = moegpu.shared 49152
  %barrier = moegpu.shared 49152 : !llvm.ptr<3>
  // CHECK: moegpu.mbarrier_init %[[BARRIER]] count 129 : !llvm.ptr<3>
  moegpu.mbarrier_init %barrier count 129 : !llvm.ptr<3>
  // CHECK: moegpu.proxy_fence
  moegpu.proxy_fence
  // CHECK: moegpu.named_barrier %{{.*}} threads 128
  moegpu.named_barrier %matrix threads 128
  // CHECK: moegpu.mbarrier_expect %[[BARRIER]] bytes 32768 : !llvm.ptr<3>
  moegpu.mbarrier_expect %barrier bytes 32768 : !llvm.ptr<3>
  // CHECK: moegpu.tensor_load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}] to %[[TO]], %[[BARRIER]] : !llvm.ptr, !llvm.ptr<3>
  moegpu.tensor_load %map[%matrix, %row, %depth] to %to, %barrier : !llvm.ptr, !llvm.ptr<3>
  // CHECK: moegpu.mbarrier_arrive_copies %[[BARRIER]] : !llvm.ptr<3>
  moegpu.mbarrier_arrive_copies %barrier : !llvm.ptr<3>
  // CHECK: moegpu.mbarrier_arrive %[[BARRIER]] : !llvm.ptr<3>
  moegpu.mbarrier_arrive %barrier : !llvm.ptr<3>
  // CHECK: moegpu.mbarrier_wait %[[BARRIER]], %{{.*}} : !llvm.ptr<3>
  moegpu.mbarrier_wait %barrier, %matrix : !llvm.ptr<3>
  // CHECK: moegpu.max_registers increase 224
  moegpu.max_registers increase 224
  // CHECK: moegpu.max_registers decrease 56
  moegpu.max_registers decrease 56
  %a = moegpu.shared 1024 : !llvm.ptr<3>
  %b = moegpu.shared 16384 : !llvm.ptr<3>
  %c = arith.constant dense<0.0> : vector<128xf32>
  // CHECK: moegpu.wgmma_fence
  moegpu.wgmma_fence
  // CHECK: %[[D:.*]] = moegpu.wgmma bf16 %{{.*}}, %{{.*}}, %{{.*}} : !llvm.ptr<3>, vector<128xf32>
  %d = moegpu.wgmma bf16 %a, %b, %c : !llvm.ptr<3>, vector<128xf32>
  // CHECK: moegpu.wgmma_commit
  moegpu.wgmma_commit
  // CHECK: moegpu.wgmma_wait 1
  moegpu.wgmma_wait 1
  // CHECK: moegpu.wgmma_finish %[[D]] : vector<128xf32>
  %sums = moegpu.wgmma_finish %d : vector<128xf32>
  moegpu.return
}

// CHECK-LABEL: moegpu.kernel @wgmma_registers
moegpu.kernel @wgmma_registers() threads 128 shared 65536 {
  %a = arith.constant dense<0> : vector<8xi32>
  %b = moegpu.shared 1024 : !llvm.ptr<3>
  %c = arith.constant dense<0.0> : vector<64xf32>
  moegpu.wgmma_fence
  // CHECK: moegpu.wgmma_registers bf16 %{{.*}}, %{{.*}} from 2, %{{.*}} : vector<8xi32>, !llvm.ptr<3>, vector<64xf32>
  %d = moegpu.wgmma_registers bf16 %a, %b from 2, %c : vector<8xi32>, !llvm.ptr<3>, vector<64xf32>
  // CHECK: moegpu.wgmma_registers e4m3 %{{.*}}, %{{.*}} from 2, %{{.*}} : vector<8xi32>, !llvm.ptr<3>, vector<64xf32>
  %e = moegpu.wgmma_registers e4m3 %a, %b from 2, %d : vector<8xi32>, !llvm.ptr<3>, vector<64xf32>
  // CHECK: moegpu.wgmma e4m3
  %f = moegpu.wgmma e4m3 %b, %b, %e : !llvm.ptr<3>, vector<64xf32>
  moegpu.wgmma_commit
  %sums = moegpu.wgmma_finish %f : vector<64xf32>
  moegpu.return
}

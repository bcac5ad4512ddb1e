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

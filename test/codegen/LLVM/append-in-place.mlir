// RUN: moe-opt %s --split-input-file --moe-append-in-place | FileCheck %s
// RUN: moe-opt %s --split-input-file --moe-append-in-place --moe-lower-runtime-calls 2>&1 | FileCheck %s --check-prefix=CALL

// Output 1 grows out of input 1, and attention reads it with its strides.
// CHECK-LABEL: func.func @main(
// CHECK-SAME:      %[[Q:.*]]: memref<?x?x6x32xf32>, %[[PAST:.*]]: memref<?x2x?x32xf32>, %[[K:.*]]: memref<?x?x2x32xf32>, %[[V:.*]]: memref
// CHECK:         %[[S:.*]] = memref.dim %[[K]], %{{.*}}
// CHECK:         %[[PRESENT:.*]] = moert.cache %[[PAST]] fresh %[[S]] input 1 output 1
// CHECK-SAME:      -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
// CHECK:         %[[P:.*]] = memref.dim %[[PAST]]
// CHECK:         %[[ROOM:.*]] = memref.subview %[[PRESENT]][0, 0, %[[P]], 0] [%{{.*}}, 2, %[[S]], 32] [1, 1, 1, 1]
// CHECK:         linalg.transpose ins(%[[K]] : {{.*}}) outs(%[[ROOM]] : {{.*}}) permutation = [0, 2, 1, 3]
// CHECK-NOT:     kv_append
// CHECK:         moert.attention ins(%[[Q]], %[[PRESENT]], %[[V]] :
// CHECK:         %[[OUT:.*]] = memref.cast %[[PRESENT]] : {{.*}} to memref<?x2x?x32xf32>
// CHECK:         return %{{.*}}, %[[OUT]]
// CALL-DAG:    llvm.func @moert_append(i32, i32, !llvm.ptr, i64, i64, i64, i64, !llvm.ptr) -> !llvm.ptr
// CALL:        %[[SLOT:.*]] = llvm.alloca
// CALL:        %[[DATA:.*]] = llvm.call @moert_append({{.*}}, %[[SLOT]])
// CALL:        llvm.load %[[SLOT]]
func.func @main(%q: memref<?x?x6x32xf32>, %past: memref<?x2x?x32xf32>, %k: memref<?x?x2x32xf32>,
                %v: memref<?x2x?x32xf32>, %b: index, %l: index, %s: index)
    -> (memref<?x?x6x32xf32>, memref<?x2x?x32xf32>) {
  %present = memref.alloc(%b, %l) : memref<?x2x?x32xf32>
  moert.kv_append past(%past : memref<?x2x?x32xf32>) ins(%k : memref<?x?x2x32xf32>) outs(%present : memref<?x2x?x32xf32>)
  %y = memref.alloc(%b, %s) : memref<?x?x6x32xf32>
  moert.attention ins(%q, %present, %v : memref<?x?x6x32xf32>, memref<?x2x?x32xf32>, memref<?x2x?x32xf32>)
      outs(%y : memref<?x?x6x32xf32>) scale 0.125 causal
  return %y, %present : memref<?x?x6x32xf32>, memref<?x2x?x32xf32>
}

// -----

// Somebody else reads the past: it must be dense.
// CHECK-LABEL: func.func @main(
// CHECK-NOT:     moert.cache
// CHECK:         moert.kv_append
func.func @main(%past: memref<?x2x?x32xf32>, %k: memref<?x?x2x32xf32>, %b: index, %l: index, %i: index)
    -> (memref<?x2x?x32xf32>, f32) {
  %present = memref.alloc(%b, %l) : memref<?x2x?x32xf32>
  moert.kv_append past(%past : memref<?x2x?x32xf32>) ins(%k : memref<?x?x2x32xf32>) outs(%present : memref<?x2x?x32xf32>)
  %x = memref.load %past[%i, %i, %i, %i] : memref<?x2x?x32xf32>
  return %present, %x : memref<?x2x?x32xf32>, f32
}

// -----

// The result is no output, two outputs, or read by what needs it dense.
// CHECK-LABEL: func.func @main(
// CHECK-NOT:     moert.cache
// CHECK-COUNT-3: moert.kv_append
func.func @main(%p0: memref<?x2x?x32xf32>, %p1: memref<?x2x?x32xf32>, %p2: memref<?x2x?x32xf32>,
                %k: memref<?x?x2x32xf32>, %b: index, %l: index, %i: index)
    -> (f32, memref<?x2x?x32xf32>, memref<?x2x?x32xf32>, memref<?x2x?x32xf32>, index) {
  %0 = memref.alloc(%b, %l) : memref<?x2x?x32xf32>
  moert.kv_append past(%p0 : memref<?x2x?x32xf32>) ins(%k : memref<?x?x2x32xf32>) outs(%0 : memref<?x2x?x32xf32>)
  %x = memref.load %0[%i, %i, %i, %i] : memref<?x2x?x32xf32>
  %1 = memref.alloc(%b, %l) : memref<?x2x?x32xf32>
  moert.kv_append past(%p1 : memref<?x2x?x32xf32>) ins(%k : memref<?x?x2x32xf32>) outs(%1 : memref<?x2x?x32xf32>)
  %2 = memref.alloc(%b, %l) : memref<?x2x?x32xf32>
  moert.kv_append past(%p2 : memref<?x2x?x32xf32>) ins(%k : memref<?x?x2x32xf32>) outs(%2 : memref<?x2x?x32xf32>)
  %address = memref.extract_aligned_pointer_as_index %2 : memref<?x2x?x32xf32> -> index
  return %x, %1, %1, %2, %address : f32, memref<?x2x?x32xf32>, memref<?x2x?x32xf32>, memref<?x2x?x32xf32>, index
}

// -----

// Only the model's own border is one.
// CHECK-LABEL: func.func @helper(
// CHECK-NOT:     moert.cache
func.func @helper(%past: memref<?x2x?x32xf32>, %k: memref<?x?x2x32xf32>, %b: index, %l: index)
    -> memref<?x2x?x32xf32> {
  %present = memref.alloc(%b, %l) : memref<?x2x?x32xf32>
  moert.kv_append past(%past : memref<?x2x?x32xf32>) ins(%k : memref<?x?x2x32xf32>) outs(%present : memref<?x2x?x32xf32>)
  return %present : memref<?x2x?x32xf32>
}

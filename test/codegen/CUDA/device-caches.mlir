// RUN: moe-opt %s --split-input-file --moert-run-on-device | FileCheck %s
// RUN: moe-opt %s --split-input-file --moert-run-on-device --moe-place-weights --moe-lower-runtime-calls | FileCheck %s --check-prefix=CALL

// Rows of a cache stay on the device: new ones are written there, attention
// reads them there, and what is handed out is the session's to keep.
moe.bank @up in "a" at 0 length 3072 : tensor<2x2x24x16xbf16>
moe.bank @down in "a" at 3072 length 2048 : tensor<2x2x16x16xbf16>

// CHECK-LABEL: func.func @main(
// CHECK-SAME:    %[[Q:.*]]: memref<?x?x6x32xf32>, %[[PAST:.*]]: memref<?x2x?x32xf32>, %[[K:.*]]: memref<?x?x2x32xf32>
// CHECK:         scf.if
// Inputs go first.
// CHECK:         moert.transfer up %[[K]] to %[[DK:.*]] :
// CHECK:         %[[CACHE:.*]] = moert.device_cache %[[PAST]] fresh %{{.*}} input 1 output 1 : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
// CHECK-NOT:     moert.transfer up %[[PAST]]
// CHECK:         memref.subview %[[CACHE]]
// CHECK-NEXT:    %[[ROOM:.*]] = memref.subview %[[CACHE]][0, 0, %{{.*}}, 0]
// CHECK:         moert.launch kernel {{[0-9]+}}(%[[DK]], %[[ROOM]] :
// CHECK:         moert.launch kernel {{[0-9]+}}(%{{.*}}, %[[CACHE]], %{{.*}} :
// What is no cache stays there, too, until it is wanted.
// CHECK-NOT:     moert.transfer down {{.*}} memref<?x?x6x32xf32>
// CHECK:         %[[Z:.*]] = moert.device_present %{{.*}} : memref<?x?x6x32xf32> -> memref<?x?x6x32xf32>
// CHECK:         %[[OUT:.*]] = moert.device_present %[[CACHE]] : {{.*}} -> memref<?x2x?x32xf32>
// CHECK:         scf.yield %[[Z]], %[[OUT]]
// CHECK:       } else {
// CHECK:         moert.cache
// CALL:          llvm.call @moert_device_append(%{{.*}}) : (i32, i32, !llvm.ptr, i64, i64, i64, i64, !llvm.ptr) -> !llvm.ptr
// Views begin where their offset says.
// CALL:          memref.extract_strided_metadata
// CALL:          llvm.call @moert_device_launch
// CALL:          llvm.call @moert_device_present(%{{.*}}) : (!llvm.ptr, i64) -> !llvm.ptr
func.func @main(%q: memref<?x?x6x32xf32>, %past: memref<?x2x?x32xf32>, %k: memref<?x?x2x32xf32>, %v: memref<?x2x?x32xf32>,
                %x: memref<?x24xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %y: memref<?x24xf32>, %b: index, %s: index)
    -> (memref<?x?x6x32xf32>, memref<?x2x?x32xf32>) {
  %two = arith.constant 2 : index
  %up = moert.weight_ref @up : memref<2x2x24x16xbf16>
  %down = moert.weight_ref @down : memref<2x2x16x16xbf16>
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>)
  %present = moert.cache %past fresh %s input 1 output 1 : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  %p = memref.dim %past, %two : memref<?x2x?x32xf32>
  %room = memref.subview %present[0, 0, %p, 0] [%b, 2, %s, 32] [1, 1, 1, 1]
      : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> to memref<?x2x?x32xf32, strided<[?, ?, 32, 1], offset: ?>>
  linalg.transpose ins(%k : memref<?x?x2x32xf32>) outs(%room : memref<?x2x?x32xf32, strided<[?, ?, 32, 1], offset: ?>>) permutation = [0, 2, 1, 3]
  %z = memref.alloc(%b, %s) : memref<?x?x6x32xf32>
  moert.attention ins(%q, %present, %v : memref<?x?x6x32xf32>, memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>, memref<?x2x?x32xf32>)
      outs(%z : memref<?x?x6x32xf32>) scale 0.125 causal
  %out = memref.cast %present : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> to memref<?x2x?x32xf32>
  return %z, %out : memref<?x?x6x32xf32>, memref<?x2x?x32xf32>
}

// -----

// The processor reads the cache, too, so it is the processor's, with all that
// touches it.
moe.bank @up in "a" at 0 length 3072 : tensor<2x2x24x16xbf16>
moe.bank @down in "a" at 3072 length 2048 : tensor<2x2x16x16xbf16>

// CHECK-LABEL: func.func @main(
// CHECK:         moert.launch_layer
// CHECK:         moert.cache
// CHECK:         linalg.transpose
// CHECK:         moert.attention
// CHECK-NOT:     moert.device_cache
// CHECK:       } else {
// CHECK-NOT:   moegpu.kernel
func.func @main(%q: memref<?x?x6x32xf32>, %past: memref<?x2x?x32xf32>, %k: memref<?x?x2x32xf32>, %v: memref<?x2x?x32xf32>,
                %x: memref<?x24xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %y: memref<?x24xf32>, %b: index, %s: index)
    -> (memref<?x?x6x32xf32>, memref<?x2x?x32xf32>, f32) {
  %zero = arith.constant 0 : index
  %two = arith.constant 2 : index
  %up = moert.weight_ref @up : memref<2x2x24x16xbf16>
  %down = moert.weight_ref @down : memref<2x2x16x16xbf16>
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>)
  %present = moert.cache %past fresh %s input 1 output 1 : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  %p = memref.dim %past, %two : memref<?x2x?x32xf32>
  %room = memref.subview %present[0, 0, %p, 0] [%b, 2, %s, 32] [1, 1, 1, 1]
      : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> to memref<?x2x?x32xf32, strided<[?, ?, 32, 1], offset: ?>>
  linalg.transpose ins(%k : memref<?x?x2x32xf32>) outs(%room : memref<?x2x?x32xf32, strided<[?, ?, 32, 1], offset: ?>>) permutation = [0, 2, 1, 3]
  %z = memref.alloc(%b, %s) : memref<?x?x6x32xf32>
  moert.attention ins(%q, %present, %v : memref<?x?x6x32xf32>, memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>, memref<?x2x?x32xf32>)
      outs(%z : memref<?x?x6x32xf32>) scale 0.125 causal
  %seen = memref.load %present[%zero, %zero, %zero, %zero] : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
  %out = memref.cast %present : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> to memref<?x2x?x32xf32>
  return %z, %out, %seen : memref<?x?x6x32xf32>, memref<?x2x?x32xf32>, f32
}

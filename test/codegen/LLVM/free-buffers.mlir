// RUN: moe-opt %s --moe-free-buffers | FileCheck %s

// What a select gives is one of two buffers: both live until it was read.
// CHECK-LABEL: func.func @main
// CHECK: arith.select
// CHECK-NEXT: memref.load
// CHECK-NEXT: memref.dealloc
// CHECK-NEXT: memref.dealloc
// CHECK-NEXT: return
func.func @main(%c: i1, %i: index, %x: f32) -> f32 {
  %a = memref.alloc() : memref<8xf32>
  %b = memref.alloc() : memref<8xf32>
  memref.store %x, %a[%i] : memref<8xf32>
  memref.store %x, %b[%i] : memref<8xf32>
  %q = arith.select %c, %a, %b : memref<8xf32>
  %y = memref.load %q[%i] : memref<8xf32>
  return %y : f32
}

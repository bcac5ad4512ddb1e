// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func.func @kinds
func.func @kinds(%x: tensor<?x64xf32>, %w: tensor<8x64xbf16>, %wt: tensor<64x8xf32>, %b: tensor<8xf32>,
                 %h: tensor<64x64xf32>, %tokens: tensor<?xi64>, %t1: tensor<1000xi32>, %t2: tensor<1000x2xi64>,
                 %z0: tensor<?x8xf32>, %R: tensor<8x8xf32>) {
  // CHECK: moe.router linear %{{.*}} weight(%{{.*}} : tensor<8x64xbf16>) : tensor<?x64xf32> -> tensor<?x8xf32>
  %logits = moe.router linear %x weight(%w : tensor<8x64xbf16>) : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.router linear %{{.*}} weight(%{{.*}} : tensor<64x8xf32>) transposed bias(%{{.*}} : tensor<8xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  %1 = moe.router linear %x weight(%wt : tensor<64x8xf32>) transposed bias(%b : tensor<8xf32>) : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.router linear_tanh_linear %{{.*}} weight(%{{.*}} : tensor<8x64xbf16>) hidden(%{{.*}} : tensor<64x64xf32>) residual(%{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<8x8xf32>) standardize : tensor<?x64xf32> -> tensor<?x8xf32>
  %2 = moe.router linear_tanh_linear %x weight(%w : tensor<8x64xbf16>) hidden(%h : tensor<64x64xf32>)
      residual(%z0, %R : tensor<?x8xf32>, tensor<8x8xf32>) standardize : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.router distance %{{.*}} weight(%{{.*}}) temperature 1.000000e-01
  %3 = moe.router distance %x weight(%w : tensor<8x64xbf16>) temperature 0.1 : tensor<?x64xf32> -> tensor<?x8xf32>
  // CHECK: moe.router table %{{.*}} weight(%{{.*}} : tensor<1000xi32>) : tensor<?xi64> -> tensor<?x1xi32>
  %4 = moe.router table %tokens weight(%t1 : tensor<1000xi32>) : tensor<?xi64> -> tensor<?x1xi32>
  // CHECK: moe.router table %{{.*}} weight(%{{.*}} : tensor<1000x2xi64>) : tensor<?xi64> -> tensor<?x2xi32>
  %5 = moe.router table %tokens weight(%t2 : tensor<1000x2xi64>) : tensor<?xi64> -> tensor<?x2xi32>
  // CHECK: moe.router given %{{.*}} : tensor<?x8xf32> -> tensor<?x8xf32>
  %6 = moe.router given %z0 : tensor<?x8xf32> -> tensor<?x8xf32>
  // CHECK: moe.router linear %{{.*}} seed 7 : tensor<?x64xf32> -> tensor<?x8xf32>
  %7 = moe.router linear %x seed 7 : tensor<?x64xf32> -> tensor<?x8xf32>
  return
}

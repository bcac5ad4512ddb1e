// One model with weights in all three forms, each run by the same command line.

// RUN: rm -rf %t && mkdir %t
// RUN: %python -c "import struct; open(r'%t/w.bin', 'wb').write(bytes(64) + struct.pack('<4f', 1, 2, 3, 4))"
// RUN: %python %S/Inputs/make_npz.py %t/x.npy "x:<f4:4:10"
// RUN: moe-opt %s --bank w.bin=%t/w.bin -o %t/scale
// RUN: moe-opt %s --bank w.bin=%t/w.bin -o %t/scale.so
// RUN: moe-opt %s --bank w.bin=%t/w.bin -o %t/scale.moe
// RUN: rm %t/w.bin
// RUN: %t/scale --input x=%t/x.npy | FileCheck %s
// RUN: moe-run %t/scale.so --input x=%t/x.npy | FileCheck %s
// RUN: moe-run %t/scale.moe --input x=%t/x.npy | FileCheck %s
// CHECK: y float32 [4] 10 .. 40

// RUN: moe-bank ls %t/scale.moe | FileCheck %s --check-prefix=LS
// LS:      code section cpu:
// LS-NEXT: weights section cpu:{{.*}} bytes
// RUN: moe-bank verify %t/scale.moe | FileCheck %s --check-prefix=VERIFY
// VERIFY: scale.moe: bundle with 2 entries, intact{{$}}
// RUN: %fakes/runtime-example %t/scale.so | FileCheck %s --check-prefix=EXAMPLE
// EXAMPLE: y: rank 1, first size 4
// RUN: ls %t | count 5

// The exported name moe_<model>_api is the general one for a model.so.
// RUN: moe-opt %s --bank w.bin=%t/x.npy -o %t/model.so
// RUN: llvm-nm -D --defined-only %t/model.so | FileCheck %s --check-prefix=MODEL
// RUN: llvm-nm -D --defined-only %t/scale.so | FileCheck %s --check-prefix=SCALE
// MODEL:      T moe_model_api
// MODEL-NOT:  {{.}}
// SCALE:      T moe_model_api
// SCALE-NEXT: T moe_scale_api
// SCALE-NOT:  {{.}}

module attributes {moe.archives = [{name = "w.bin"}]} {
  moe.bank @w in "w.bin" at 64 length 16 : tensor<4xf32>
  func.func @main(%x: tensor<4xf32> {moe.name = "x", moe.dims = [""]})
      -> (tensor<4xf32> {moe.name = "y", moe.dims = [""]}) {
    %w = moe.weight @w : tensor<4xf32>
    %empty = tensor.empty() : tensor<4xf32>
    %y = linalg.mul ins(%x, %w : tensor<4xf32>, tensor<4xf32>)
                    outs(%empty : tensor<4xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
}

// RUN: moe-opt %s --verify-roundtrip | FileCheck %s

// Every kind of entry; null experts and aliases may stand anywhere.

moe.bank @gate_up in "m" key "gate_up" : tensor<2x256x64xbf16>
moe.bank @down in "m" key "down" : tensor<2x64x128xbf16>
moe.bank @v in "m" key "v" : tensor<1x64xf32>
moe.bank @wc in "m" key "wc" : tensor<1x2x64xf32>

// CHECK-LABEL: moe.pool @ffn0 {
// CHECK-NEXT:    moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
// CHECK-NEXT:    moe.expert @e1 glu
// CHECK-NEXT:    moe.null_expert @zero zero
// CHECK-NEXT:  }
moe.pool @ffn0 {
  moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
  moe.expert @e1 glu silu gate @gate_up[1, 0:128] up @gate_up[1, 128:256] down @down[1]
  moe.null_expert @zero zero
}

// CHECK-LABEL: moe.pool @mixed attributes {note = "kept"} {
moe.pool @mixed attributes {note = "kept"} {
  // CHECK-NEXT: moe.null_expert @c0 constant value @v[0] mix @wc[0]
  moe.null_expert @c0 constant value @v[0] mix @wc[0]
  // CHECK-NEXT: moe.expert @e0 glu silu
  moe.expert @e0 glu silu gate @gate_up[0, 0:128] up @gate_up[0, 128:256] down @down[0]
  // CHECK-NEXT: moe.null_expert @c1 copy
  moe.null_expert @c1 copy
  // CHECK-NEXT: moe.null_expert @c2 constant value @v[0]
  moe.null_expert @c2 constant value @v[0]
  // CHECK-NEXT: moe.alias @e3 of @e0
  moe.alias @e3 of @e0
  // CHECK-NEXT: moe.expert_fn @code calls @attention_code states [0, 1]
  moe.expert_fn @code calls @attention_code states [0, 1]
  // CHECK-NEXT: moe.expert_fn @lazy calls @attention_code states [2, 3] lazy input 1
  moe.expert_fn @lazy calls @attention_code states [2, 3] lazy input 1
}

func.func private @attention_code(tensor<?x64xf32>, tensor<?xf32>, tensor<?xf32>)
    -> (tensor<?x64xf32>, tensor<?xf32>, tensor<?xf32>)

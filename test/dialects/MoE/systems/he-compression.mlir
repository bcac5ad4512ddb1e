// RUN: moe-opt %s --moe-verify-phase=raised --verify-roundtrip | FileCheck %s

// He et al., "Demystifying the compression of MoE" (arXiv 2406.02500;
// CASE-Lab-UMD/Unified-MoE-Compression). Expert trimming drops experts (with their router rows),
// MoE sub-layers (with their norm) or whole blocks; slimming makes what is
// left sparse (2:4) or int4. Layers name what may be dropped, and by what it is
// bypassed; the shared expert stays out of the pool and unpruned.

moe.bank @norm in "m" key "norm" : tensor<64xf32>
moe.bank @router_all in "m" key "router" : tensor<4x64xf32>
moe.bank @router recipe(#moe.permute<#moe.slice<@router_all>, dim = 0, order = [0, 2]>) : tensor<2x64xf32>
moe.bank @gate in "m" key "w1" : tensor<4x128x64xf32>
moe.bank @up in "m" key "w3" : tensor<4x128x64xf32>
moe.bank @down in "m" key "w2" : tensor<4x64x128xf32>
// CHECK: moe.bank @up4 recipe(#moe.quantize<#moe.slice<@up[2]>, bits = 4, block = 0, part = "values">) : tensor<128x32xui8>
moe.bank @up4 recipe(#moe.quantize<#moe.slice<@up[2]>, bits = 4, block = 0, part = "values">) : tensor<128x32xui8>
moe.bank @up4s recipe(#moe.quantize<#moe.slice<@up[2]>, bits = 4, block = 0, part = "scales">) : tensor<128xf32>

// CHECK-LABEL: moe.pool @ffn3
// CHECK-NEXT:    moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0] n_of_m [2, 4]
// CHECK-NEXT:    moe.expert @e2 glu silu gate @gate[2] up @up4 quant<bits = 4, block = 0, scales = <@up4s>> down @down[2]
// CHECK-NEXT:  }
moe.pool @ffn3 {
  moe.expert @e0 glu silu gate @gate[0] up @up[0] down @down[0] n_of_m [2, 4]
  moe.expert @e2 glu silu gate @gate[2] up @up4 quant<bits = 4, block = 0, scales = <@up4s>> down @down[2]
}

func.func private @attention(tensor<?x64xf32>) -> tensor<?x64xf32>

// CHECK-LABEL: func.func @model
// CHECK-SAME:    %[[X:[^:]+]]: tensor<?x64xf32>
func.func @model(%x: tensor<?x64xf32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK: %[[B:.*]] = moe.layer block "layers.3" bypass(%[[X]] : tensor<?x64xf32>)
  %y = moe.layer block "layers.3" bypass(%x : tensor<?x64xf32>) -> tensor<?x64xf32> {
    // CHECK: %[[H:.*]] = moe.layer attention "layers.3.attn" bypass(%[[X]]
    %h = moe.layer attention "layers.3.attn" bypass(%x : tensor<?x64xf32>) -> tensor<?x64xf32> {
      %a = func.call @attention(%x) : (tensor<?x64xf32>) -> tensor<?x64xf32>
      %s = arith.addf %x, %a : tensor<?x64xf32>
      moe.yield %s : tensor<?x64xf32>
    }
    // CHECK: moe.layer moe "layers.3.moe" bypass(%[[H]]
    %o = moe.layer moe "layers.3.moe" bypass(%h : tensor<?x64xf32>) -> tensor<?x64xf32> {
      %scale = moe.weight @norm : tensor<64xf32>
      %u = moert.rms_norm ins(%h, %scale : tensor<?x64xf32>, tensor<64xf32>) outs(%init : tensor<?x64xf32>) epsilon 1.0e-5 -> tensor<?x64xf32>
      %w = moe.weight @router : tensor<2x64xf32>
      %logits = moe.router linear %u weight(%w : tensor<2x64xf32>) : tensor<?x64xf32> -> tensor<?x2xf32>
      // CHECK: moe.gate softmax %{{.*}} over @ffn3 top_k 2 norm selected
      %ids, %weights = moe.gate softmax %logits over @ffn3 top_k 2 norm selected : tensor<?x2xf32>
      %f = moe.apply @ffn3 %u ids %ids weights %weights
          : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
      %s = arith.addf %h, %f : tensor<?x64xf32>
      moe.yield %s : tensor<?x64xf32>
    }
    moe.yield %o : tensor<?x64xf32>
  }
  // CHECK: return %[[B]]
  return %y : tensor<?x64xf32>
}

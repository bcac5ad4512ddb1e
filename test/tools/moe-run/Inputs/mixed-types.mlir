// A layer without kernels for a GPU: its matrices are of two types.
moe.bank @up recipe(dense<1.0> : tensor<2x1x1xf32>) : tensor<2x1x1xf32>
moe.bank @down recipe(dense<[[[3.0]], [[5.0]]]> : tensor<2x1x1xf16>) : tensor<2x1x1xf16>

moe.pool @experts {
  moe.expert @e0 ffn identity up @up[0] down @down[0]
  moe.expert @e1 ffn identity up @up[1] down @down[1]
}

func.func @main(%x: tensor<?x1xf32> {moe.name = "x"}, %logits: tensor<?x2xf32> {moe.name = "logits"})
    -> (tensor<?x1xf32> {moe.name = "y"}) {
  %ids, %w = moe.gate softmax %logits over @experts top_k 1 norm selected : tensor<?x2xf32>
  %y = moe.apply @experts %x ids %ids weights %w : (tensor<?x1xf32>, tensor<?x1xi32>, tensor<?x1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

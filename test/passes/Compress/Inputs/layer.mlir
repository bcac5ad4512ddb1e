// A layer of four gated experts of 64 features and 32 hidden units, for refusals.
moe.bank @w recipe(dense<0.5> : tensor<4x32x64xf32>) : tensor<4x32x64xf32>
moe.bank @d recipe(dense<0.25> : tensor<4x64x32xf32>) : tensor<4x64x32xf32>
moe.bank @router recipe(dense<0.125> : tensor<4x64xf32>) : tensor<4x64xf32>

moe.pool @ffn {
  moe.expert @e0 glu silu gate @w[0] up @w[0] down @d[0]
  moe.expert @e1 glu silu gate @w[1] up @w[1] down @d[1]
  moe.expert @e2 glu silu gate @w[2] up @w[2] down @d[2]
  moe.expert @e3 glu silu gate @w[3] up @w[3] down @d[3]
}

func.func @main(%x: tensor<?x64xf32>) -> (tensor<?x64xf32> {moe.name = "y"}) {
  %w = moe.weight @router : tensor<4x64xf32>
  %z = moe.router linear %x weight(%w : tensor<4x64xf32>) : tensor<?x64xf32> -> tensor<?x4xf32>
  %ids, %g = moe.gate softmax %z over @ffn top_k 2 norm selected layer "l0" : tensor<?x4xf32>
  %y = moe.apply @ffn %x ids %ids weights %g layer "l0"
      : (tensor<?x64xf32>, tensor<?x2xi32>, tensor<?x2xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

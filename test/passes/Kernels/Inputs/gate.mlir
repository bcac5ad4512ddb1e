func.func @main(%z: tensor<?x6xf32> {moe.name = "z"})
    -> (tensor<?x3xi32> {moe.name = "ids"}, tensor<?x3xf32> {moe.name = "w"}) {
  %ids, %w = moe.gate softmax %z top_k 3 norm selected : tensor<?x6xf32>
  return %ids, %w : tensor<?x3xi32>, tensor<?x3xf32>
}

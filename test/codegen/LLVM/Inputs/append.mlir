// Appends two heads' rows to a past; `total` adds up what is cached then.
func.func @main(%past: memref<?x2x?x2xf32> {moe.name = "past"}, %fresh: memref<?x?x2x2xf32> {moe.name = "fresh"})
    -> (memref<?x2x?x2xf32> {moe.name = "present"}, memref<f32> {moe.name = "total"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f32
  %b = memref.dim %past, %c0 : memref<?x2x?x2xf32>
  %p = memref.dim %past, %c2 : memref<?x2x?x2xf32>
  %s = memref.dim %fresh, %c1 : memref<?x?x2x2xf32>
  %l = arith.addi %p, %s : index
  %present = memref.alloc(%b, %l) : memref<?x2x?x2xf32>
  moert.kv_append past(%past : memref<?x2x?x2xf32>) ins(%fresh : memref<?x?x2x2xf32>) outs(%present : memref<?x2x?x2xf32>)
  %total = memref.alloc() : memref<f32>
  linalg.fill ins(%zero : f32) outs(%total : memref<f32>)
  linalg.generic {
      indexing_maps = [affine_map<(b, h, l, d) -> (b, h, l, d)>, affine_map<(b, h, l, d) -> ()>],
      iterator_types = ["reduction", "reduction", "reduction", "reduction"]}
      ins(%present : memref<?x2x?x2xf32>) outs(%total : memref<f32>) {
  ^bb0(%x: f32, %sum: f32):
    %y = arith.addf %x, %sum : f32
    linalg.yield %y : f32
  }
  return %present, %total : memref<?x2x?x2xf32>, memref<f32>
}

// RUN: moe-opt %s --moert-run-on-device --remarks-filter='moe-device' 2>%t.txt | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK <%t.txt
// RUN: moe-opt %s --moert-run-on-device --moe-place-weights --moe-lower-runtime-calls | FileCheck %s --check-prefix=CALL

// Layers of one shape share kernels; what serves an id goes with the layer.
// CHECK: module attributes {
// CHECK-SAME: moe.device_layer_names = ["first", "", "", ""],
// CHECK-SAME: moe.device_layers = [{down = @down, entries = array<i64: 0, 1>, pool = 0 : i64, up = @up},
// CHECK-SAME: {down = @down, entries = array<i64: 1, -1, 0>, pool = 1 : i64, up = @up},
// CHECK-SAME: {down = @down, down_bias = @bias, entries = array<i64: 0, 1>, pool = 2 : i64, up = @up8, up_scales = @scales},
// CHECK-SAME: {down = @down, entries = array<i64: 0, 1>, pool = 3 : i64, up = @down, up_low = @low}],
// CHECK-SAME: moe.device_pools = [{activation = 3 : i64, {{.*}}element = 0 : i64, entries = 2 : i64, experts = 2 : i64, glu = 1 : i64, hidden = 16 : i64, inputs = 24 : i64, {{.*}}outputs = 24 : i64, panel_width = 16 : i64, {{.*}}top_k = 2 : i64, {{.*}}}, {{.*}}entries = 3 : i64,
// CHECK-SAME: {{.*}}down_bias = 1 : i64, {{.*}}up_coded = 1 : i64, up_coding = 0 : i64, {{.*}}up_scale = 1 : i64,
// CHECK-SAME: {{.*}}inputs = 24 : i64, {{.*}}scale_input = 1 : i64, {{.*}}up_rank = 16 : i64,
moe.bank @up in "a" at 0 length 3072 : tensor<2x2x24x16xbf16>
moe.bank @down in "a" at 3072 length 2048 : tensor<2x2x16x16xbf16>
moe.bank @up8 in "a" at 12000 length 1536 : tensor<2x2x24x16xi8>
moe.bank @scales in "a" at 14000 length 128 : tensor<2x2x1x16xbf16>
moe.bank @scales8 in "a" at 16000 length 384 : tensor<2x2x3x16xbf16>
moe.bank @bias in "a" at 15000 length 192 : tensor<2x1x1x24xf32>
moe.bank @low in "a" at 18000 length 1536 : tensor<2x1x24x16xbf16>
moe.bank @up32 in "a" at 5120 length 6144 : tensor<2x2x24x16xf32>

// What the caller gave is copied first, and again when the processor has
// changed it.
// CHECK-LABEL: func.func @main
// CHECK: %[[ON:.*]] = moert.on_device
// CHECK: scf.if %[[ON]] {
// CHECK-DAG: moert.transfer up %[[X:.*]] to %[[DX:.*]] : memref<?x24xf32>
// CHECK-DAG: moert.transfer up %[[IDS:.*]] to %[[DIDS:.*]] : memref<?x2xi32>
// CHECK-DAG: moert.transfer up %[[W:.*]] to %[[DW:.*]] : memref<?x2xf32>
// What is written whole is not copied before.
// CHECK-NOT: moert.transfer
// CHECK: moert.launch_layer 0 ins(%[[DX]] : memref<?x24xf32>) choices(%[[DIDS]], %[[DW]] : {{.*}}) outs(%[[DY:.*]] :
// CHECK-NEXT: moert.launch_layer 1 ins(%[[DX]] :
// CHECK-NEXT: moert.launch_layer 0 ins(%[[DX]] : {{.*}} residual(%[[DY]] : memref<?x24xf32>) outs(%[[DY]] :
// CHECK-NEXT: moert.expert_ffn {{.*}}ins(%[[X]], {{.*}}moe.not_offloaded = "its weights are of types that have no kernels"
// CHECK-NOT: moert.transfer
// CHECK: moert.launch_layer 2
// CHECK: moert.launch_layer 3
// CHECK: moert.expert_ffn {{.*}}moe.not_offloaded = "its weights are quantised otherwise than kernels know"
// The processor adds to what is on the device.
// CHECK: moert.launch_layer 0 {{.*}} outs(%[[DY]] :
// CHECK-NEXT: moert.phase "loop"
// CHECK-NEXT: moert.transfer down %[[DY]] to %[[Y:.*]] :
// CHECK: linalg.generic {{.*}}outs(%[[Y]] :
// CHECK: moert.phase{{$}}
// CHECK: moert.transfer up %[[Y]] to %[[DY]] :
// CHECK-NEXT: moert.launch_layer 0 {{.*}} residual(%[[DY]] :
// In a loop, one by one.
// CHECK: scf.for
// CHECK: scf.if %{{.*}} {
// CHECK: moert.launch_layer 0
// CHECK-NEXT: moert.transfer down
// CHECK: } else {
// CHECK-NEXT: moert.expert_ffn
// The body for the processor is what it was.
// CHECK: } else {
// CHECK-NOT: moert.launch_layer
// CHECK: moert.expert_ffn
// CHECK: return

// CALL: %[[ON:.*]] = llvm.call @moert_on_device() : () -> i32
// CALL: llvm.icmp "ne" %[[ON]]
// CALL: llvm.call @moert_device_alloc(%{{.*}}) : (i64) -> !llvm.ptr
// CALL: llvm.call @moert_device_upload(%{{.*}}) : (!llvm.ptr, !llvm.ptr, i64) -> ()
// CALL: llvm.call @moert_device_rows(%{{.*}}) : (i32, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CALL: llvm.call @moert_device_download(%{{.*}}) : (!llvm.ptr, !llvm.ptr, i64) -> ()
// CALL: llvm.call @moert_device_free(%{{.*}}) : (!llvm.ptr) -> ()
func.func @main(%x: memref<?x24xf32>, %ids: memref<?x2xi32>, %w: memref<?x2xf32>, %y: memref<?x24xf32>) {
  %up = moert.weight_ref @up : memref<2x2x24x16xbf16>
  %down = moert.weight_ref @down : memref<2x2x16x16xbf16>
  %up32 = moert.weight_ref @up32 : memref<2x2x24x16xf32>
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>) loc("first")
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>) {entries = array<i64: 1, -1, 0>}
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) residual(%y : memref<?x24xf32>) outs(%y : memref<?x24xf32>)
  // REMARK: Missed{{.*}}on device{{.*}}its weights are of types that have no kernels
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up32 : memref<2x2x24x16xf32>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>)
  // Quantised, with biases, which have lost a dimension.
  %up8 = moert.weight_ref @up8 : memref<2x2x24x16xi8>
  %scales = moert.weight_ref @scales : memref<2x2x1x16xbf16>
  %bias = moert.weight_ref @bias : memref<2x1x1x24xf32>
  %flat = memref.collapse_shape %bias [[0], [1, 2, 3]] : memref<2x1x1x24xf32> into memref<2x24xf32>
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up8 : memref<2x2x24x16xi8>) coded int8 block 0 scales(%scales : memref<2x2x1x16xbf16>)
      down(%down : memref<2x2x16x16xbf16>) bias(%flat : memref<2x24xf32>) outs(%y : memref<?x24xf32>)
  // Weights multiply inputs, of which a factor of the first matrix makes 16.
  %low = moert.weight_ref @low : memref<2x1x24x16xbf16>
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%down : memref<2x2x16x16xbf16>) low(%low : memref<2x1x24x16xbf16>)
      down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>) {scale_input}
  // A block that kernels do not know.
  %scales8 = moert.weight_ref @scales8 : memref<2x2x3x16xbf16>
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up8 : memref<2x2x24x16xi8>) coded int8 block 8 scales(%scales8 : memref<2x2x3x16xbf16>)
      down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>)
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>)
  moert.phase "loop"
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "reduction"]} outs(%y : memref<?x24xf32>) {
  ^bb0(%out: f32):
    %sum = arith.addf %out, %out : f32
    linalg.yield %sum : f32
  }
  moert.phase
  moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
      up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) residual(%y : memref<?x24xf32>) outs(%y : memref<?x24xf32>)
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %three = arith.constant 3 : index
  scf.for %i = %zero to %three step %one {
    moert.expert_ffn silu glu ins(%x, %ids, %w : memref<?x24xf32>, memref<?x2xi32>, memref<?x2xf32>)
        up(%up : memref<2x2x24x16xbf16>) down(%down : memref<2x2x16x16xbf16>) outs(%y : memref<?x24xf32>)
  }
  return
}

#ifndef MOE_DIALECTS_MOERT_MOERTOPS_TD
#define MOE_DIALECTS_MOERT_MOERTOPS_TD

include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def MoERT_Dialect : Dialect {
  let name = "moert";
  let cppNamespace = "::moe::moert";
  let summary = "One op per kernel family of the runtime";
  let description = [{
    The border to generated kernels. Every op writes to destinations (`outs`),
    on tensors (with one result per destination) before bufferization and on
    memrefs (without results) after it. Destinations are written, never read.
  }];
}

def MoERT_Shaped : AnyTypeOf<[AnyRankedTensor, AnyMemRef]>;

class MoERT_Op<string mnemonic, list<Trait> traits = []>
    : Op<MoERT_Dialect, mnemonic, !listconcat(traits, [
        DestinationStyleOpInterface,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>])> {
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let hasVerifier = 1;
  // Written out, because every op names its destination differently.
  code extraBaseDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      return getOutsMutable();
    }
  }];
  let extraClassDeclaration = extraBaseDeclaration;
}

def MoERT_Activation : I32EnumAttr<"Activation", "activation of an expert", [
    I32EnumAttrCase<"Identity", 0, "identity">,
    I32EnumAttrCase<"Relu", 1, "relu">,
    I32EnumAttrCase<"Relu2", 2, "relu2">,
    I32EnumAttrCase<"Silu", 3, "silu">,
    I32EnumAttrCase<"Gelu", 4, "gelu">,
    I32EnumAttrCase<"GeluTanh", 5, "gelu_tanh">]> {
  let cppNamespace = "::moe::moert";
}

def MoERT_Score : I32EnumAttr<"Score", "score function of a router", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Softmax", 1, "softmax">,
    I32EnumAttrCase<"Sigmoid", 2, "sigmoid">]> {
  let cppNamespace = "::moe::moert";
}

/// Numbered as in runtime/IRInterface.h.
def MoERT_Measure : I32EnumAttr<"Measure", "what is recorded", [
    I32EnumAttrCase<"Choice", 0, "choice">,
    I32EnumAttrCase<"Logits", 1, "logits">,
    I32EnumAttrCase<"Inputs", 2, "inputs">,
    I32EnumAttrCase<"InputGram", 3, "input_gram">,
    I32EnumAttrCase<"SublayerCosine", 4, "sublayer_cosine">,
    I32EnumAttrCase<"BlockCosine", 5, "block_cosine">,
    I32EnumAttrCase<"Outputs", 6, "outputs">]> {
  let cppNamespace = "::moe::moert";
}

def MoERT_Coding : I32EnumAttr<"Coding", "what the bits of a quantised value mean", [
    I32EnumAttrCase<"Int8", 0, "int8">,
    I32EnumAttrCase<"Int4", 1, "int4">,
    I32EnumAttrCase<"Fp4", 2, "fp4">,
    I32EnumAttrCase<"Nf4", 3, "nf4">,
    I32EnumAttrCase<"F8E4M3", 4, "f8e4m3">]> {
  let cppNamespace = "::moe::moert";
}

def MoERT_MaskedRow : I32EnumAttr<"MaskedRow", "what a fully masked row attends to", [
    I32EnumAttrCase<"Zero", 0, "zero">,
    I32EnumAttrCase<"Uniform", 1, "uniform">]> {
  let cppNamespace = "::moe::moert";
}

def MoERT_Direction : I32EnumAttr<"Direction", "which way bytes go", [
    I32EnumAttrCase<"Up", 0, "up">,
    I32EnumAttrCase<"Down", 1, "down">]> {
  let cppNamespace = "::moe::moert";
}

def MoERT_WeightRefOp : Op<MoERT_Dialect, "weight_ref", [Pure]> {
  let summary = "The memory that a bank's bytes are mapped to";
  let description = [{
    What `moe.weight` becomes in bufferization: read-only memory, dense and
    row-major, at the bank's place in the packed weights.

    Example:

    ```mlir
    %w = moert.weight_ref @up : memref<2x192x384xbf16>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$bank);
  let results = (outs AnyStaticShapeMemRef:$result);
  let assemblyFormat = "$bank attr-dict `:` type($result)";
}

class MoERT_RuntimeOp<string mnemonic, list<Trait> traits = []>
    : Op<MoERT_Dialect, mnemonic, traits # [
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]>;

def MoERT_CacheOp : MoERT_RuntimeOp<"cache"> {
  let summary = "Room for rows behind those of an input of the model";
  let description = [{
    Memory `[B, heads, P + fresh, D]` whose first P rows of each head are those
    of `past [B, heads, P, D]`, input number `input` of @main; the others are
    to be written. It is output number `output`. Heads lie as far apart as the
    runtime chooses: where the session feeds the output back to the input,
    rows stay in place from run to run (`moert_append`). `past` must not be
    read elsewhere.

    Constraints:
    - (C1) `past` is dense; `past` and the result have rank 4 and the same
      element type of whole bytes.
    - (C2) the result's rows and features are dense, and it begins at offset 0.

    Example:

    ```mlir
    %present = moert.cache %past fresh %s input 1 output 2
        : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
    ```
  }];
  let arguments = (ins AnyMemRef:$past, Index:$fresh, I64Attr:$input, I64Attr:$output);
  let results = (outs AnyMemRef:$present);
  let assemblyFormat = [{
    $past `fresh` $fresh `input` $input `output` $output attr-dict
    `:` type($past) `->` type($present)
  }];
  let hasVerifier = 1;
}

def MoERT_ObserveOp : MoERT_RuntimeOp<"observe"> {
  let summary = "Add values to the record of a layer";
  let description = [{
    What `--profile` writes: `moe.observe` with the layer's name and the number
    of its experts (`moert_measure`). Ids outside [0, `experts`) are ignored. Changes no
    result; costs a branch where nobody records.

    Example:

    ```mlir
    moert.observe choice %ids of "layers.0" experts 16 : tensor<?x2xi32>
    ```
  }];
  let arguments = (ins MoERT_Measure:$measure, Variadic<MoERT_Shaped>:$values,
                       StrAttr:$layer, I64Attr:$experts,
                       DefaultValuedAttr<MoERT_Score, "::moe::moert::Score::None">:$score);
  let assemblyFormat = [{
    $measure $values `of` $layer `experts` $experts (`score` $score^)? attr-dict
    `:` type($values)
  }];
}

def MoERT_PhaseOp : MoERT_RuntimeOp<"phase"> {
  let summary = "Begin or end a phase of the run";
  let description = [{
    Marks for `--trace`: with a name a phase begins, without one the last that
    began ends.

    Example:

    ```mlir
    moert.phase "experts"
    ```
  }];
  let arguments = (ins OptionalAttr<StrAttr>:$name);
  let assemblyFormat = "($name^)? attr-dict";
}

def MoERT_OnDeviceOp : MoERT_RuntimeOp<"on_device"> {
  let summary = "Whether this run has a device";
  let description = [{
    Where it does, `moert.device_alloc` and the ops behind it may run
    (`moert_on_device`).

    Example:

    ```mlir
    %is = moert.on_device
    ```
  }];
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}

def MoERT_DeviceAllocOp : MoERT_RuntimeOp<"device_alloc"> {
  let summary = "Memory of the device";
  let description = [{
    Like `memref.alloc`, but only the ops for devices may touch what it holds;
    its shape may be asked for anywhere. Taken back by `moert.device_free`, or at the
    end of the run.

    Constraints:
    - (C1) The memory is dense, and there is a size for each dynamic dimension.

    Example:

    ```mlir
    %memory = moert.device_alloc(%t) : memref<?x192xf32>
    ```
  }];
  let arguments = (ins Variadic<Index>:$sizes);
  let results = (outs AnyMemRef:$memory);
  let assemblyFormat = "`(` $sizes `)` attr-dict `:` type($memory)";
  let hasVerifier = 1;
}

def MoERT_DeviceFreeOp : MoERT_RuntimeOp<"device_free"> {
  let summary = "Give memory of the device back";
  let description = [{
    What was launched before may still use it.

    Example:

    ```mlir
    moert.device_free %memory : memref<?x192xf32>
    ```
  }];
  let arguments = (ins AnyMemRef:$memory);
  let assemblyFormat = "$memory attr-dict `:` type($memory)";
}

def MoERT_DeviceConstantOp : MoERT_RuntimeOp<"device_constant", [AllTypesMatch<["memory", "copy"]>]> {
  let summary = "Weights or constants of the model, on the device";
  let description = [{
    The device's copy of memory that never changes; made once, and kept.

    Constraints:
    - (C1) The memory is dense and of static shape.

    Example:

    ```mlir
    %copy = moert.device_constant %weights : memref<192xf32>
    ```
  }];
  let arguments = (ins AnyMemRef:$memory);
  let results = (outs AnyMemRef:$copy);
  let assemblyFormat = "$memory attr-dict `:` type($memory)";
  let hasVerifier = 1;
}

def MoERT_TransferOp : MoERT_RuntimeOp<"transfer", [AllTypesMatch<["from", "to"]>]> {
  let summary = "Copy memory to the device, or from it";
  let description = [{
    Copies all of `from`. To the device, `from` may be changed as soon as it is done;
    from it, the bytes are there then, and all that was launched has ended.

    Constraints:
    - (C1) Both are dense.

    Example:

    ```mlir
    moert.transfer up %host to %device : memref<?x192xf32>
    moert.transfer down %device to %host : memref<?x192xf32>
    ```
  }];
  let arguments = (ins MoERT_Direction:$direction, AnyMemRef:$from, AnyMemRef:$to);
  let assemblyFormat = "$direction $from `to` $to attr-dict `:` type($from)";
  let hasVerifier = 1;
}

def MoERT_DeviceCacheOp : MoERT_RuntimeOp<"device_cache"> {
  let summary = "Room on the device for rows behind those of an input";
  let description = [{
    `moert.cache`, with the result in memory of the device, where it stays from run
    to run (`moert_device_append`). `past` is what the caller gave, on the processor's
    side, or what an earlier run handed out with `moert.device_present`.

    Constraints:
    - (C1) As for `moert.cache`.

    Example:

    ```mlir
    %present = moert.device_cache %past fresh %s input 1 output 2
        : memref<?x2x?x32xf32> -> memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>>
    ```
  }];
  let arguments = (ins AnyMemRef:$past, Index:$fresh, I64Attr:$input, I64Attr:$output);
  let results = (outs AnyMemRef:$present);
  let assemblyFormat = [{
    $past `fresh` $fresh `input` $input `output` $output attr-dict
    `:` type($past) `->` type($present)
  }];
  let hasVerifier = 1;
}

def MoERT_DevicePresentOp : MoERT_RuntimeOp<"device_present"> {
  let summary = "Hand out what is in memory of the device";
  let description = [{
    An output of the model, of what `memory` holds; nothing may write to that any
    more. Only shapes of the result may be looked at: bytes are copied when somebody
    asks for them, and not at all where they are rows of a cache that the session
    keeps for its next run (`moert_device_present`).

    Constraints:
    - (C1) `memory` is dense, or has rank 4 and dense rows from offset 0 on. The result
      is dense, of the same sizes and elements.

    Example:

    ```mlir
    %out = moert.device_present %present
        : memref<?x2x?x32xf32, strided<[?, ?, 32, 1]>> -> memref<?x2x?x32xf32>
    ```
  }];
  let arguments = (ins AnyMemRef:$memory);
  let results = (outs AnyMemRef:$present);
  let assemblyFormat = "$memory attr-dict `:` type($memory) `->` type($present)";
  let hasVerifier = 1;
}

def MoERT_LaunchOp : MoERT_RuntimeOp<"launch", [AttrSizedOperandSegments]> {
  let summary = "Launch a kernel of the model";
  let description = [{
    Kernel number `kernel` of the module's `moe.device_kernels`, with the
    addresses of `memories`, then `numbers` (an index as i64).

    Example:

    ```mlir
    moert.launch kernel 0 (%x, %y : memref<?x192xf32>, memref<?x192xf32>) numbers(%t : index)
    ```
  }];
  let arguments = (ins I64Attr:$kernel, Variadic<AnyMemRef>:$memories,
                       Variadic<AnyType>:$numbers);
  let assemblyFormat = [{
    `kernel` $kernel (`(` $memories^ `:` type($memories) `)`)?
    (`numbers` `(` $numbers^ `:` type($numbers) `)`)? attr-dict
  }];
}

def MoERT_LaunchLayerOp : MoERT_RuntimeOp<"launch_layer", [AttrSizedOperandSegments]> {
  let summary = "Launch the kernels of a layer of experts, or of one matrix";
  let description = [{
    Layer number `layer` of the module's `moe.device_layers`, on memory of the
    device: `moert.expert_ffn`, or, without ids and weights, `moert.gemm`.

    Constraints:
    - (C1) All memory is dense; `ids` are i32, all other elements f32; there are ids where there are weights.

    Example:

    ```mlir
    moert.launch_layer 0 ins(%x : memref<?x192xf32>) choices(%ids, %w : memref<?x2xi32>, memref<?x2xf32>)
        outs(%y : memref<?x192xf32>)
    ```
  }];
  let arguments = (ins I64Attr:$layer, AnyMemRef:$x, Optional<AnyMemRef>:$ids,
                       Optional<AnyMemRef>:$weights, Optional<AnyMemRef>:$residual,
                       AnyMemRef:$outs);
  let assemblyFormat = [{
    $layer `ins` `(` $x `:` type($x) `)` (`choices` `(` $ids^ `,` $weights `:` type($ids) `,` type($weights) `)`)?
    (`residual` `(` $residual^ `:` type($residual) `)`)? `outs` `(` $outs `:` type($outs) `)` attr-dict
  }];
  let hasVerifier = 1;
}

def MoERT_CheckOp : MoERT_RuntimeOp<"check"> {
  let summary = "End the run unless a condition holds";
  let description = [{
    A `cf.assert` whose message has numbers in it: `where` takes the place of a
    `%s` in `message`, `value` that of a `%lld` (`moert_fail`). Code that
    follows must stay in bounds.

    Constraints:
    - (C1) `message` has at most one `%s`, which `where` is for, and at most one
      `%lld`, which `value` is for; no other `%` but `%%`.

    Example:

    ```mlir
    moert.check %real, "a logit of layer '%s' is not a number (token %lld)" where "layers.0" value %t
    ```
  }];
  let arguments = (ins I1:$condition, StrAttr:$message, OptionalAttr<StrAttr>:$where,
                       Optional<Index>:$value);
  let assemblyFormat = [{
    $condition `,` $message (`where` $where^)? (`value` $value^)? attr-dict
  }];
  let hasVerifier = 1;
}

def MoERT_EmbedOp : MoERT_Op<"embed"> {
  let summary = "Gather rows of a table";
  let description = [{
    `outs[..., :] = table[ids[...], :]`, widened to the destination's type.
    Negative ids count from the end; an id outside the table ends the run
    with an error.

    Constraints:
    - (C1) ids are integers, the table has rank 2.
    - (C2) the destination has the ids' rank plus one.

    Example:

    ```mlir
    %y = moert.embed ins(%ids, %table : tensor<?x?xi64>, tensor<256x192xbf16>)
        outs(%init : tensor<?x?x192xf32>) -> tensor<?x?x192xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$ids, MoERT_Shaped:$table, MoERT_Shaped:$outs);
  let assemblyFormat = [{
    `ins` `(` $ids `,` $table `:` type($ids) `,` type($table) `)`
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
}

def MoERT_GemmOp : MoERT_Op<"gemm", [AttrSizedOperandSegments]> {
  let summary = "Multiply rows by a weight matrix";
  let description = [{
    `outs[..., n] = sum_k x[..., k] W[k, n] (+ bias[n]) (+ residual[..., n])`,
    accumulated in f32 or wider. `weight` is plain (`[K, N]`, or `[N, K]` with
    `transpose_weight`) or packed (rank 4: `[1, panels, K, width]`, made by a
    `#moe.panels` recipe; columns past N are zero).

    Constraints:
    - (C1) the last dimension of x is K, the last of the destination N, and both have rows.
    - (C2) x, the destination and the residual agree in all other dimensions.

    Example:

    ```mlir
    %y = moert.gemm ins(%x, %w : tensor<?x192xf32>, tensor<192x64xbf16>)
        outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$x, MoERT_Shaped:$weight,
                       Optional<MoERT_Shaped>:$bias,
                       Optional<MoERT_Shaped>:$residual,
                       MoERT_Shaped:$outs, UnitAttr:$transpose_weight);
  let assemblyFormat = [{
    `ins` `(` $x `,` $weight `:` type($x) `,` type($weight) `)`
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`residual` `(` $residual^ `:` type($residual) `)`)?
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
}

def MoERT_RmsNormOp : MoERT_Op<"rms_norm"> {
  let summary = "Scale rows to unit root mean square";
  let description = [{
    `outs = x / sqrt(mean(x^2, last axis) + epsilon) * scale`.

    Constraints:
    - (C1) `scale` has rank 1 and the length of x's last dimension, which there is.

    Example:

    ```mlir
    %y = moert.rms_norm ins(%x, %scale : tensor<?x192xf32>, tensor<192xf32>)
        outs(%init : tensor<?x192xf32>) epsilon 1.0e-6 -> tensor<?x192xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$x, MoERT_Shaped:$scale, MoERT_Shaped:$outs,
                       F64Attr:$epsilon);
  let assemblyFormat = [{
    `ins` `(` $x `,` $scale `:` type($x) `,` type($scale) `)`
    `outs` `(` $outs `:` type($outs) `)` `epsilon` $epsilon attr-dict
    (`->` type($results)^)?
  }];
}

def MoERT_LayerNormOp : MoERT_Op<"layer_norm"> {
  let summary = "Normalise rows to zero mean and unit variance";
  let description = [{
    `outs = (x - mean) / sqrt(var + epsilon) * scale (+ bias)` over the last
    axis, population variance.

    Constraints:
    - (C1) `scale` and `bias` have rank 1 and the length of x's last dimension.

    Example:

    ```mlir
    %y = moert.layer_norm ins(%x, %scale : tensor<?x192xf32>, tensor<192xf32>)
        outs(%init : tensor<?x192xf32>) epsilon 1.0e-5 -> tensor<?x192xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$x, MoERT_Shaped:$scale,
                       Optional<MoERT_Shaped>:$bias, MoERT_Shaped:$outs,
                       F64Attr:$epsilon);
  let assemblyFormat = [{
    `ins` `(` $x `,` $scale `:` type($x) `,` type($scale) `)`
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    `outs` `(` $outs `:` type($outs) `)` `epsilon` $epsilon attr-dict
    (`->` type($results)^)?
  }];
}

def MoERT_RopeTableOp : MoERT_Op<"rope_table"> {
  let summary = "Cosines and sines of positions times frequencies";
  let description = [{
    `cos[b, s, i] = cos(positions[b, s] * frequencies[i])`, sin likewise. The
    product is rounded to f32, as in the graphs that models were trained with
    (at position 500 that is 3e-5 of an angle, which results show); its cosine
    is computed in f64 and rounded once.

    Constraints:
    - (C1) two destinations of shape `positions x frequencies`.

    Example:

    ```mlir
    %cos, %sin = moert.rope_table ins(%pos, %freq : tensor<?x?xi64>, tensor<16xf32>)
        outs(%c, %s : tensor<?x?x16xf32>, tensor<?x?x16xf32>)
        -> tensor<?x?x16xf32>, tensor<?x?x16xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$positions, MoERT_Shaped:$frequencies,
                       Variadic<MoERT_Shaped>:$outs);
  let assemblyFormat = [{
    `ins` `(` $positions `,` $frequencies `:` type($positions) `,` type($frequencies) `)`
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
}

def MoERT_RopeOp : MoERT_Op<"rope"> {
  let summary = "Rotate pairs of features by position";
  let description = [{
    With `R = 2 * cos's last dimension` rotated features of each head,
    `x : [B, S, heads, D]` and `cos, sin : [B or 1, S, R/2]`: halves form
    pairs (i, i + R/2), or neighbours (2i, 2i + 1) with `interleaved`;
    `outs_i = x_i cos_i - x_j sin_i`, `outs_j = x_j cos_i + x_i sin_i`.
    Features from R on are copied.

    Constraints:
    - (C1) x and the destination have rank 4, cos and sin rank 3.

    Example:

    ```mlir
    %y = moert.rope ins(%x, %cos, %sin : tensor<?x?x6x32xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>)
        outs(%init : tensor<?x?x6x32xf32>) -> tensor<?x?x6x32xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$x, MoERT_Shaped:$cos, MoERT_Shaped:$sin,
                       MoERT_Shaped:$outs, UnitAttr:$interleaved);
  let assemblyFormat = [{
    `ins` `(` $x `,` $cos `,` $sin `:` type($x) `,` type($cos) `,` type($sin) `)`
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
}

def MoERT_KvAppendOp : MoERT_Op<"kv_append"> {
  let summary = "Append new keys or values to cached ones";
  let description = [{
    `outs[b, h, :P] = past[b, h]`, `outs[b, h, P + s] = fresh[b, s, h]`:
    past and destination are `[B, heads, P or P + S, D]`, `fresh` is
    `[B, S, heads, D]`. Without `past`, P is 0 and this is a transposition.

    Constraints:
    - (C1) all operands have rank 4.

    Example:

    ```mlir
    %present = moert.kv_append past(%past : tensor<?x2x?x32xf32>)
        ins(%k : tensor<?x?x2x32xf32>) outs(%init : tensor<?x2x?x32xf32>)
        -> tensor<?x2x?x32xf32>
    ```
  }];
  let arguments = (ins Optional<MoERT_Shaped>:$past, MoERT_Shaped:$fresh,
                       MoERT_Shaped:$outs);
  let assemblyFormat = [{
    (`past` `(` $past^ `:` type($past) `)`)?
    `ins` `(` $fresh `:` type($fresh) `)`
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
}

def MoERT_AttentionOp : MoERT_Op<"attention", [AttrSizedOperandSegments]> {
  let summary = "Scaled dot-product attention with grouped heads";
  let description = [{
    Query `[B, S, Hq, D]`, keys and values `[B, Hkv, L, D]`, destination
    `[B, S, Hq, D]`; head h uses key head `h / (Hq / Hkv)`. Score of query s
    and key l is `scale * q.k` (+ `bias[b or 0, h or 0, s, l]`); with `softcap`
    c > 0 it becomes `c tanh(score / c)` before the bias. Key l is visible iff
    all of these hold: `l <= s + L - S` where `causal`; also `l > s + L - S -
    window` where `window` > 0; `key_mask[b, l] != 0` where given. Softmax runs
    over visible keys in f32. A row that sees no key is `masked_row`: zero, or
    the mean of all L values (`uniform`, what adding a huge negative number to
    every score gives).

    Constraints:
    - (C1) query, key, value and destination have rank 4.
    - (C2) Hq is a multiple of Hkv.

    Example:

    ```mlir
    %y = moert.attention ins(%q, %k, %v : tensor<?x?x6x32xf32>, tensor<?x2x?x32xf32>, tensor<?x2x?x32xf32>)
        outs(%init : tensor<?x?x6x32xf32>) scale 0.1767767 causal -> tensor<?x?x6x32xf32>
    ```
  }];
  let arguments = (ins MoERT_Shaped:$query, MoERT_Shaped:$key, MoERT_Shaped:$value,
                       Optional<MoERT_Shaped>:$key_mask,
                       Optional<MoERT_Shaped>:$bias, MoERT_Shaped:$outs,
                       F64Attr:$scale, UnitAttr:$causal,
                       DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<F64Attr, "0.0">:$softcap,
                       DefaultValuedAttr<MoERT_MaskedRow, "::moe::moert::MaskedRow::Zero">:$masked_row);
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value `:` type($query) `,` type($key) `,` type($value) `)`
    (`key_mask` `(` $key_mask^ `:` type($key_mask) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    `outs` `(` $outs `:` type($outs) `)` `scale` $scale (`causal` $causal^)?
    attr-dict (`->` type($results)^)?
  }];
}

def MoERT_RouteOp : MoERT_Op<"route", [AttrSizedOperandSegments]> {
  let summary = "Pick the experts of each token, and their weights";
  let description = [{
    From `logits [T, E]` the `k` experts of each row (destination `ids [T, k]`,
    i32, best first) and their weights (`[T, k]`, f32). `score` turns logits
    into scores; `select_first` takes the top k of the logits and scores only
    those. `choice_bias [E]` is added for the choice alone. With `groups` G > 0
    the experts form G equal groups, of which `top_groups` stay, ranked by
    their maximum, or by the sum of their best two with `group_top2`; the
    others' choice scores become `group_mask_value`. `normalize` divides the
    weights by their sum plus `norm_epsilon`; all are multiplied by `scale`.
    Before that, `skip_ratio` beta empties slots j > 0 with `w_j < beta w_0` (id
    -1, weight 0), and divides by the new sum where the weights added up to 1:
    with `normalize`, or a softmax over the chosen.
    Ties go to the lower expert, or to the higher one with `ties_high`. With
    `dynamic %n` the choice is of the best n, 1 <= n <= k: slots from n on get
    id -1 and weight 0, and scores and sums are over n. A NaN logit, or an n
    that is out of range, ends the run with an error naming the layer.

    Constraints:
    - (C1) k is at most E.
    - (C2) two destinations, ids and weights; they and the logits have rank 2.

    Example:

    ```mlir
    %ids, %w = moert.route softmax ins(%logits : tensor<?x16xf32>)
        outs(%i, %v : tensor<?x2xi32>, tensor<?x2xf32>) {normalize}
        -> tensor<?x2xi32>, tensor<?x2xf32>
    ```
  }];
  let arguments = (ins MoERT_Score:$score, MoERT_Shaped:$logits,
                       Optional<MoERT_Shaped>:$choice_bias,
                       Optional<Index>:$count, Variadic<MoERT_Shaped>:$outs,
                       UnitAttr:$select_first, UnitAttr:$normalize,
                       DefaultValuedAttr<F64Attr, "0.0">:$norm_epsilon,
                       DefaultValuedAttr<F64Attr, "1.0">:$scale,
                       DefaultValuedAttr<I64Attr, "0">:$groups,
                       DefaultValuedAttr<I64Attr, "0">:$top_groups,
                       UnitAttr:$group_top2,
                       DefaultValuedAttr<F64Attr, "0.0">:$group_mask_value,
                       UnitAttr:$ties_high, OptionalAttr<StrAttr>:$layer,
                       OptionalAttr<F64Attr>:$skip_ratio);
  let assemblyFormat = [{
    $score `ins` `(` $logits `:` type($logits) `)`
    (`choice_bias` `(` $choice_bias^ `:` type($choice_bias) `)`)? (`dynamic` $count^)?
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
}

def MoERT_ExpertFfnOp : MoERT_Op<"expert_ffn", [AttrSizedOperandSegments]> {
  let summary = "Run the chosen expert of each row and add the results up";
  let description = [{
    `outs[t] = sum_j weights[t, j] * expert(ids[t, j])(x[t]) (+ residual[t])`
    with `x [T, H]`, `ids`, `weights [T, k]`. An expert is
    `W2 act(W1 x + b1) + b2`, or gated, with `glu`:
    `W2 (act(g) * (l + beta)) + b2`, g and l the two halves of `W1 x + b1`.
    `alpha` scales the argument of the sigmoid in silu; with `limit` > 0
    g is clamped to at most `limit`, l to +-`limit`, before. With `scale_input`
    the weight multiplies x, not the result; `output_scale` multiplies all of
    an expert. Ids outside [0, E) contribute nothing (null experts).

    `entries` says which matrices serve an id: `entries[id]`, or none where that
    is -1. Ids are then router columns: those of other groups of experts, of
    null experts, and several that one expert serves.

    `up` is packed as `[E, panels, H, width]` (gated: interleaved with half a
    width each), `down` as `[E, panels, I, width]`; plain weights are
    `up [E, N, H]` (gated: gate rows, then linear rows) and `down [E, H, I]`.
    Biases are `[E, N]` in the plain order and `[E, H]`.

    `coded` packed weights are bytes (`#moe.quant_panels`, `[E, panels, K,
    width * bits / 8]`): value q of column c at depth k means
    `(q - zero) * scale`, with `scales` and `zeros` of `[E, panels, K / block,
    ...]`, packed as the weights are. `int8` is signed, with zero 0 where there
    are no `zeros`; `int4` counts from 0, with zero 8; the others have none.
    Block 0 is all of K.

    With `up_low` (`[E, panels, H, width]`, as packed as other weights) the first
    matrix comes in two factors, `W1 x = up (up_low x)`, and its K is their rank;
    `down_low` (`[E, panels, I, width]`) likewise.

    The residual may be the destination itself: the sum is then added in place.

    Constraints:
    - (C1) x, the destination and the residual have rank 2.
    - (C2) `ids` and `weights` have the same shape.
    - (C3) `entries` are -1 or matrices.
    - (C4) `coded` weights are packed bytes with scales that fit, others have neither scales nor zeros.
    - (C5) Low factors are packed, and have a column for each k of the matrix that they feed.

    Example:

    ```mlir
    %y = moert.expert_ffn silu glu ins(%x, %ids, %w : tensor<?x192xf32>, tensor<?x2xi32>, tensor<?x2xf32>)
        up(%up : tensor<16x384x192xbf16>) down(%down : tensor<16x192x192xbf16>)
        outs(%init : tensor<?x192xf32>) -> tensor<?x192xf32>
    ```
  }];
  let arguments = (ins MoERT_Activation:$activation, UnitAttr:$glu,
                       MoERT_Shaped:$x, MoERT_Shaped:$ids, MoERT_Shaped:$weights,
                       MoERT_Shaped:$up, MoERT_Shaped:$down,
                       Optional<MoERT_Shaped>:$up_bias,
                       Optional<MoERT_Shaped>:$down_bias,
                       Optional<MoERT_Shaped>:$up_scales,
                       Optional<MoERT_Shaped>:$up_zeros,
                       Optional<MoERT_Shaped>:$down_scales,
                       Optional<MoERT_Shaped>:$down_zeros,
                       Optional<MoERT_Shaped>:$up_low,
                       Optional<MoERT_Shaped>:$up_low_scales,
                       Optional<MoERT_Shaped>:$up_low_zeros,
                       Optional<MoERT_Shaped>:$down_low,
                       Optional<MoERT_Shaped>:$down_low_scales,
                       Optional<MoERT_Shaped>:$down_low_zeros,
                       Optional<MoERT_Shaped>:$residual, MoERT_Shaped:$outs,
                       OptionalAttr<MoERT_Coding>:$up_coding,
                       OptionalAttr<I64Attr>:$up_block,
                       OptionalAttr<MoERT_Coding>:$down_coding,
                       OptionalAttr<I64Attr>:$down_block,
                       OptionalAttr<MoERT_Coding>:$up_low_coding,
                       OptionalAttr<I64Attr>:$up_low_block,
                       OptionalAttr<MoERT_Coding>:$down_low_coding,
                       OptionalAttr<I64Attr>:$down_low_block,
                       OptionalAttr<DenseI64ArrayAttr>:$entries,
                       DefaultValuedAttr<F64Attr, "1.0">:$alpha,
                       DefaultValuedAttr<F64Attr, "0.0">:$beta,
                       DefaultValuedAttr<F64Attr, "0.0">:$limit,
                       DefaultValuedAttr<F64Attr, "1.0">:$output_scale,
                       UnitAttr:$scale_input, OptionalAttr<StrAttr>:$layer);
  let assemblyFormat = [{
    $activation (`glu` $glu^)?
    `ins` `(` $x `,` $ids `,` $weights `:` type($x) `,` type($ids) `,` type($weights) `)`
    `up` `(` $up `:` type($up) `)` (`bias` `(` $up_bias^ `:` type($up_bias) `)`)?
    (`coded` $up_coding^ `block` $up_block)?
    (`scales` `(` $up_scales^ `:` type($up_scales) `)`)? (`zeros` `(` $up_zeros^ `:` type($up_zeros) `)`)?
    (`low` `(` $up_low^ `:` type($up_low) `)`)? (`low_coded` $up_low_coding^ `block` $up_low_block)?
    (`low_scales` `(` $up_low_scales^ `:` type($up_low_scales) `)`)? (`low_zeros` `(` $up_low_zeros^ `:` type($up_low_zeros) `)`)?
    `down` `(` $down `:` type($down) `)` (`bias` `(` $down_bias^ `:` type($down_bias) `)`)?
    (`coded` $down_coding^ `block` $down_block)?
    (`scales` `(` $down_scales^ `:` type($down_scales) `)`)? (`zeros` `(` $down_zeros^ `:` type($down_zeros) `)`)?
    (`low` `(` $down_low^ `:` type($down_low) `)`)? (`low_coded` $down_low_coding^ `block` $down_low_block)?
    (`low_scales` `(` $down_low_scales^ `:` type($down_low_scales) `)`)? (`low_zeros` `(` $down_low_zeros^ `:` type($down_low_zeros) `)`)?
    (`residual` `(` $residual^ `:` type($residual) `)`)? (`entries` $entries^)?
    `outs` `(` $outs `:` type($outs) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = extraBaseDeclaration # [{
    /// A matrix with what it takes to read it; no values where there is none.
    struct Matrix {
      ::mlir::Value values, scales, zeros;
      ::std::optional<Coding> coding;
      ::std::optional<int64_t> block;
    };
    Matrix getUpMatrix() {
      return {getUp(), getUpScales(), getUpZeros(), getUpCoding(), getUpBlock()};
    }
    Matrix getDownMatrix() {
      return {getDown(), getDownScales(), getDownZeros(), getDownCoding(),
              getDownBlock()};
    }
    Matrix getUpLowMatrix() {
      return {getUpLow(), getUpLowScales(), getUpLowZeros(), getUpLowCoding(),
              getUpLowBlock()};
    }
    Matrix getDownLowMatrix() {
      return {getDownLow(), getDownLowScales(), getDownLowZeros(),
              getDownLowCoding(), getDownLowBlock()};
    }
    /// Hidden units of an expert.
    int64_t getInner() {
      ::mlir::Value reads = getDownLow() ? getDownLow() : getDown();
      return ::llvm::cast<::mlir::ShapedType>(reads.getType()).getDimSize(2);
    }
    /// Bits of a value of `coding`.
    static int64_t getBits(Coding coding) {
      return coding == Coding::Int8 || coding == Coding::F8E4M3 ? 8 : 4;
    }
    /// The columns of a packed matrix's panels, coded or not.
    int64_t getPanelWidth(::mlir::Value weights,
                          ::std::optional<Coding> coding) {
      int64_t last =
          ::llvm::cast<::mlir::ShapedType>(weights.getType()).getShape().back();
      return coding ? last * 8 / getBits(*coding) : last;
    }
    /// Columns of the router that ids may name.
    int64_t getNumColumns() {
      return getEntries() ? getEntries()->size()
                          : ::llvm::cast<::mlir::ShapedType>(getUp().getType())
                                .getShape().front();
    }
  }];
}

#endif // MOE_DIALECTS_MOERT_MOERTOPS_TD

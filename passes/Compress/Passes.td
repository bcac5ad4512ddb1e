#ifndef MOE_PASSES_COMPRESS_PASSES_TD
#define MOE_PASSES_COMPRESS_PASSES_TD

include "mlir/Pass/PassBase.td"

class CompressPass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::moe::MoEDialect"];
}

def LayersOption : ListOption<"layers", "layers", "int64_t",
    "Numbers of the layers to change, from 0 in the order of execution (default: all)">;
def RowsOption : Option<"rows", "rows", "int64_t", /*default=*/"1024",
    "Rows of the profile's sample that are looked at, at most">;

def PruneExpertsPass : CompressPass<"moe-prune-experts"> {
  let summary = "Drop the experts that matter least";
  let description = [{
    Keeps `keep` experts of each layer, or drops the share `ratio` of them.
    `score` says which go:

    - `frequency`, `probability`: use, and mean probability, in the profile
    - `saliency`: mean of weight times output norm (REAP, arXiv 2510.13999)
    - `reconstruction`: the subset that changes the layer's output least on the
      profile's sample (NAEE, arXiv 2402.14800), by `search` `exhaustive`,
      `greedy` or `beam`
    - `magnitude`: norm of the weights
    - `router-norm`: how much longer the expert's column of the router is than in the
      model before fine-tuning, `--base` (arXiv 2405.16646, section 3)

    `budget=global` drops the same number over all layers, wherever the score
    is lowest, but leaves each as many as it chooses per token.

    `semantics=remove` erases the entry and the router's column: tokens choose
    again among the others. `semantics=null`, the default of `router-norm`, keeps the column: a token that
    chooses it gets nothing there (arXiv 2405.16646).

    ```mlir
    // --moe-prune-experts='keep=1 score=magnitude'
    moe.pool @ffn { moe.expert @e0 ... moe.expert @e1 ... }
    // becomes
    moe.pool @ffn { moe.expert @e1 ... }
    moe.bank @router.kept recipe(#moe.permute<#moe.slice<@router>, dim = 0, order = [1]>) : tensor<1x64xf32>
    ```
  }];
  let options = [
    Option<"keep", "keep", "int64_t", "-1", "Experts that each layer keeps">,
    Option<"ratio", "ratio", "double", "-1.0", "Share of the experts that goes, instead of keep">,
    Option<"score", "score", "std::string", "\"saliency\"",
           "frequency, probability, saliency, reconstruction, magnitude or router-norm">,
    Option<"search", "search", "std::string", "\"exhaustive\"",
           "exhaustive, greedy or beam, for reconstruction">,
    Option<"beam", "beam", "int64_t", "8", "Subsets that a beam search goes on with">,
    Option<"maxSubsets", "max-subsets", "int64_t", "100000",
           "Subsets that an exhaustive search may look at">,
    Option<"budget", "budget", "std::string", "\"layer\"", "layer or global">,
    Option<"semantics", "semantics", "std::string", "\"\"",
           "remove or null (default: remove, null for router-norm)">,
    RowsOption, LayersOption
  ];
}

def MergeExpertsPass : CompressPass<"moe-merge-experts"> {
  let summary = "Replace groups of similar experts by their mean";
  let description = [{
    `keep` groups per layer. `method=m-smoe` (arXiv 2310.01334): the experts in most use lead the groups, the
    others join the one most similar; weights are means by use, routers stay,
    and the columns of a group become aliases. `method=dek` (arXiv 2407.09590): groups by average
    linkage, plain means, and the router's rows are merged as well, so that
    there are fewer columns.

    `similarity`: `router-logits` (cosine of columns of logits, m-smoe's), `outputs` (linear CKA
    of outputs on the sample, dek's) or `weights` (cosine of all weights). `align` permutes hidden units
    first so that they match those of the group's first expert. `budget=global`
    (m-smoe) spends the groups where use is spread most (section 3.2).
  }];
  let options = [
    Option<"keep", "keep", "int64_t", "-1", "Groups that each layer keeps">,
    Option<"ratio", "ratio", "double", "-1.0", "Share of the experts that goes, instead of keep">,
    Option<"method", "method", "std::string", "\"m-smoe\"", "m-smoe or dek">,
    Option<"similarity", "similarity", "std::string", "\"\"",
           "router-logits, outputs or weights (default: the method's)">,
    Option<"align", "align", "bool", "true", "Match hidden units before the mean">,
    Option<"budget", "budget", "std::string", "\"layer\"", "layer or global">,
    Option<"rowBias", "row-bias", "bool", "false",
           "dek: add the logarithm of the group's size to its logit">,
    RowsOption, LayersOption
  ];
}

def AlignExpertsPass : CompressPass<"moe-align-experts"> {
  let summary = "Permute hidden units so that experts match";
  let description = [{
    Gives each expert the order of hidden units in which it resembles the
    layer's first most (optimal assignment on products of weights, arXiv
    2310.01334, section 3.1). Changes no result but by rounding.
  }];
  let options = [LayersOption];
}

def FactorizeExpertsPass : CompressPass<"moe-factorize-experts"> {
  let summary = "Write experts' matrices as low rank plus some rows";
  let description = [{
    Each matrix becomes a product of two of rank `rank` (or as large a rank as the share
    `ratio` of its numbers allows) plus the share `rows-kept` of the rows of what
    is left, those of the greatest norm (arXiv 2310.01334, section 3.3, with magnitudes for gradients). `weighted`
    weighs errors by mean squares of the inputs in the profile, to the power `power`.

    Gate and up of a gated expert are factored as one matrix, so that they share the factor that reads
    the inputs (`joint`; not with `rows-kept`): at the same bytes the rank is a third greater.
  }];
  let options = [
    Option<"rank", "rank", "int64_t", "-1", "Rank of the products">,
    Option<"ratio", "ratio", "double", "-1.0", "Share of the numbers that is kept, instead of rank">,
    Option<"multiple", "multiple", "int64_t", "1", "What ranks that ratio gives are multiples of">,
    Option<"joint", "joint", "bool", "true", "Factor gate and up together">,
    Option<"rowsKept", "rows-kept", "double", "0.0", "Share of the remainder's rows that is kept">,
    Option<"weighted", "weighted", "bool", "false", "Weigh errors by the inputs in the profile">,
    Option<"power", "power", "double", "1.0", "What the mean squares are raised to">,
    RowsOption, LayersOption
  ];
}

def SparsifyExpertsPass : CompressPass<"moe-sparsify-experts"> {
  let summary = "Set the least important weights of experts to zero";
  let description = [{
    Keeps `n` of every `m` neighbouring inputs, or the share `ratio` of a row's
    numbers. `score=wanda` ranks by `|w|` times the root of the input's mean square (arXiv 2306.11695), `magnitude` by `|w|`.
    Zeros take as many bytes as other numbers until a target stores them otherwise.
  }];
  let options = [
    Option<"n", "n", "int64_t", "2", "Weights kept of each m">,
    Option<"m", "m", "int64_t", "4", "Neighbouring inputs that are looked at together; 0: all of a row">,
    Option<"ratio", "ratio", "double", "-1.0", "Share of a row's weights that goes, instead of n and m">,
    Option<"score", "score", "std::string", "\"wanda\"", "wanda or magnitude">,
    RowsOption, LayersOption
  ];
}

def NarrowExpertsPass : CompressPass<"moe-narrow-experts"> {
  let summary = "Drop hidden units of experts";
  let description = [{
    Drops the share `ratio` of each expert's hidden units: those with the least mean square on the sample times
    squared norm of what reads them. `budget=layer` drops them over all experts of
    a layer, so that experts differ in width (multiples of `multiple`).
  }];
  let options = [
    Option<"ratio", "ratio", "double", "-1.0", "Share of the hidden units that goes">,
    Option<"budget", "budget", "std::string", "\"expert\"", "expert or layer">,
    Option<"multiple", "multiple", "int64_t", "8", "What widths are multiples of">,
    RowsOption, LayersOption
  ];
}

def QuantizeExpertsPass : CompressPass<"moe-quantize"> {
  let summary = "Store experts' matrices with few bits";
  let description = [{
    `type`: `int8`, `int4`, `mxfp4`, `nf4`, `fp8` (E4M3) or `bf16`, `f16`, with one scale per `block` inputs of a
    row (0: a row). `mode=round` rounds to the nearest; `mode=aware` searches each block's
    scale for the least error weighted by the mean squares of the inputs in the profile.
    `mode=gptq` searches scales likewise, then rounds inputs one after the other, and lets the later ones make up
    for what each has lost (GPTQ, arXiv 2210.17323); it needs a profile of `--instrument=gram`. All modes
    give the same format, scales of `round` and `aware` included.
    `asymmetric` (integers) stores zero points.

    `mixed=TYPE` stores the less important experts in `mixed` instead, so many that the layer's bytes are
    `bytes` of its f32 bytes; important are those with the greatest `score`.
  }];
  let options = [
    Option<"type", "type", "std::string", "\"int8\"", "int8, int4, mxfp4, nf4, fp8, bf16 or f16">,
    Option<"block", "block", "int64_t", "32", "Inputs that share a scale: 32, 64, 128, or 0 for a row">,
    Option<"asymmetric", "asymmetric", "bool", "false", "Store zero points">,
    Option<"mode", "mode", "std::string", "\"round\"", "round, aware or gptq">,
    Option<"mixed", "mixed", "std::string", "\"\"", "Type of the less important experts">,
    Option<"bytes", "bytes", "double", "-1.0", "With mixed: share of the f32 bytes that experts may take">,
    Option<"score", "score", "std::string", "\"frequency\"", "With mixed: what is important">,
    RowsOption, LayersOption
  ];
}

def QuantizeDensePass : CompressPass<"moe-quantize-dense"> {
  let summary = "Store matrices outside of experts in 16 bits";
  let description = [{
    Matrices of f32 that rows are multiplied by (`MatMul`, `Gemm`) and tables that rows are taken of
    (`Gather`) are stored as `bf16` or `f16`, and widened as they are read. Routers, norms and biases stay as they are.
  }];
  let options = [
    Option<"type", "type", "std::string", "\"bf16\"", "bf16 or f16">
  ];
}

def SkipExpertsPass : CompressPass<"moe-skip-experts"> {
  let summary = "Let tokens skip experts of little weight";
  let description = [{
    A token's second and later experts are skipped where their weight is below `beta` times
    the first's. Without `beta`, it is the median of that ratio in the profile's sample (NAEE,
    arXiv 2402.14800, section 3.3), or the ratio below which the share `share` of tokens lies.

    With `t1` and `t2` the rule is another: of a token's experts, the heaviest first, those before which the share `t1` of
    the weights at most has gone run as they are stored, those up to `t2` from a second
    storage of type `low`, the others not at all (HOBBIT, arXiv 2411.01433, section 3.2, applied always, not only where a cache misses).
    This counts as quantising: experts must have their final shape.
  }];
  let options = [
    Option<"beta", "beta", "double", "-1.0", "The ratio">,
    Option<"share", "share", "double", "0.5", "Share of tokens that skip, where beta is not given">,
    Option<"t1", "t1", "double", "-1.0", "Share of the weights up to which experts run as they are">,
    Option<"t2", "t2", "double", "-1.0", "Share of the weights from which experts do not run">,
    Option<"low", "low", "std::string", "\"int4\"", "With t1, t2: type of the second storage, as in quantize">,
    Option<"block", "block", "int64_t", "32", "Inputs that share a scale of it: 32, 64, 128, or 0 for a row">,
    RowsOption, LayersOption
  ];
}

def ReduceTopKPass : CompressPass<"moe-reduce-top-k"> {
  let summary = "Let tokens choose fewer experts";
  let description = [{
    ```mlir
    %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 2 norm selected : tensor<?x8xf32>
    // with k=1 becomes
    %ids, %weights = moe.gate softmax %logits over @ffn0 top_k 1 norm selected : tensor<?x8xf32>
    ```
  }];
  let options = [
    Option<"k", "k", "int64_t", "-1", "Experts per token">, LayersOption
  ];
}

def DropLayersPass : CompressPass<"moe-drop-layers"> {
  let summary = "Drop the MoE layers that change the residual stream least";
  let description = [{
    Drops `count` MoE layers, each with its norm and its Add: those with the greatest mean cosine
    between the stream before and after them in the profile (arXiv 2406.02500, section 3.2).
  }];
  let options = [
    Option<"count", "count", "int64_t", "-1", "Layers that go">
  ];
}

def DropBlocksPass : CompressPass<"moe-drop-blocks"> {
  let summary = "Drop the blocks that change the residual stream least";
  let description = [{
    Drops `count` blocks, attention and MoE layer together: those with the greatest mean cosine between their input and
    output in the profile (arXiv 2406.02500, section 3.2). Inputs and outputs of the model that only a dropped block has (its caches) go with it.
  }];
  let options = [
    Option<"count", "count", "int64_t", "-1", "Blocks that go">
  ];
}

def AddNullExpertsPass : CompressPass<"moe-add-null-experts"> {
  let summary = "Give the router columns that cost nothing";
  let description = [{
    Adds `count` null experts to each layer, whose columns repeat those of the experts in turn (AdaMoE's start, arXiv
    2406.13233, section 3.2), and lets tokens choose `k`. A gate that divides weights by their sum leaves out of that sum what gives nothing:
    with `kind=zero` null experts of any kind, where it divided by the sum over all (norm `real`; `nonzero` stays as it is); with
    `kind=copy` zero experts alone (norm `nonzero`), for a copy gives its token, at its share of the weights. A gate that does not divide (norm `none`) still does not.
    Without training, columns that repeat cost quality.
  }];
  let options = [
    Option<"count", "count", "int64_t", "-1", "Null experts per layer">,
    Option<"k", "k", "int64_t", "-1", "Entries that a token chooses (default: as many as before)">,
    Option<"kind", "kind", "std::string", "\"zero\"", "zero or copy">,
    LayersOption
  ];
}

def DedupeExpertsPass : CompressPass<"moe-dedupe-experts"> {
  let summary = "Replace equal experts of a layer by aliases";
  let description = [{
    Experts whose matrices, biases and constants are equal to the bit are stored once. Changes no result.
  }];
  let options = [LayersOption];
}

def FoldLoRAPass : CompressPass<"moe-fold-lora"> {
  let summary = "Add low-rank adapters of experts to the matrices under them";
  let description = [{
    ```mlir
    moe.expert @e0 linear up factored<base = <@w>, left = <@b>, right = <@a>, scale = 4.0 : f64>
    // becomes
    moe.bank @pool.e0.up recipe(#moe.mix<[#moe.factored<base = <@w>, ...>], [1.0]>)
    moe.expert @e0 linear up @pool.e0.up
    ```
  }];
  let options = [LayersOption];
}

def FoldBatchNormPass : CompressPass<"moe-fold-batch-norm"> {
  let summary = "Fold batch norms into the linear layers before them";
  let description = [{
    `BatchNormalization` in its inference form, right behind a `MatMul` or `Gemm` with stored weights (an `Add` of
    a bias may lie between), in any function: experts that are functions (HoME, arXiv
    2408.05430) and the rest of the model. What makes output j is multiplied by `gamma_j / sqrt(variance_j + epsilon)`,
    and the bias follows. Others get a remark.
  }];
}

def StripOutputsPass : CompressPass<"moe-strip-outputs"> {
  let summary = "Remove outputs of the model, and all that only they need";
  let description = [{
    Heads that served training alone (arXiv 2411.08937) and caches that nobody reads.
  }];
  let options = [
    ListOption<"names", "names", "std::string", "Names of the outputs that go">
  ];
}

#endif // MOE_PASSES_COMPRESS_PASSES_TD

#include "frontends/ONNX/OpRegistry.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace moe::onnx;

// Versions, arities and attributes are those of the operators' published
// definitions (ONNX operator changelog; ONNX Runtime contrib operators).
static constexpr OpEntry table[] = {
    {"", "Abs", "6 13", 1, 1, 1, 1, ""},
    {"", "Add", "7 13 14", 2, 2, 1, 1, ""},
    {"", "And", "7", 2, 2, 1, 1, ""},
    {"", "ArgMax", "1 11 12 13", 1, 1, 1, 1,
     "axis:i keepdims:i select_last_index:i@12"},
    {"", "ArgMin", "1 11 12 13", 1, 1, 1, 1,
     "axis:i keepdims:i select_last_index:i@12"},
    {"", "BatchNormalization", "7 9 14 15", 5, 5, 1, 5,
     "epsilon:f momentum:f spatial:i@7-7 training_mode:i@14"},
    {"", "Cast", "6 9 13 19 21 23 24 25", 1, 1, 1, 1,
     "to:i saturate:i@19 round_mode:s@24"},
    {"", "CastLike", "15 19 21 23 24 25", 2, 2, 1, 1,
     "saturate:i@19 round_mode:s@24"},
    {"", "Ceil", "6 13", 1, 1, 1, 1, ""},
    {"", "Clip", "6 11 12 13", 1, 3, 1, 1, "max:f@6-6 min:f@6-6"},
    {"", "Concat", "4 11 13", 1, -1, 1, 1, "axis:i"},
    {"", "Constant", "1 9 11 12 13 19 21 23 24 25", 0, 0, 1, 1,
     "value:t value_float:f@12 value_floats:F@12 value_int:i@12 "
     "value_ints:I@12 value_string:s@12 value_strings:S@12"},
    {"", "ConstantOfShape", "9 20 21 23 24 25", 1, 1, 1, 1, "value:t"},
    {"", "Cos", "7 22", 1, 1, 1, 1, ""},
    {"", "CumSum", "11 14", 2, 2, 1, 1, "exclusive:i reverse:i"},
    {"", "DequantizeLinear", "10 13 19 21 23 24 25", 2, 3, 1, 1,
     "axis:i@13 block_size:i@21 output_dtype:i@23"},
    {"", "Div", "7 13 14", 2, 2, 1, 1, ""},
    {"", "Elu", "6 22", 1, 1, 1, 1, "alpha:f"},
    {"", "Equal", "7 11 13 19", 2, 2, 1, 1, ""},
    {"", "Erf", "9 13", 1, 1, 1, 1, ""},
    {"", "Exp", "6 13", 1, 1, 1, 1, ""},
    {"", "Expand", "8 13", 2, 2, 1, 1, ""},
    {"", "Flatten", "1 9 11 13 21 23 24 25", 1, 1, 1, 1, "axis:i"},
    {"", "Floor", "6 13", 1, 1, 1, 1, ""},
    {"", "Gather", "1 11 13", 2, 2, 1, 1, "axis:i"},
    {"", "GatherElements", "11 13", 2, 2, 1, 1, "axis:i"},
    {"", "GatherND", "11 12 13", 2, 2, 1, 1, "batch_dims:i@12"},
    {"", "Gelu", "20", 1, 1, 1, 1, "approximate:s"},
    {"", "Gemm", "7 9 11 13", 2, 3, 1, 1, "alpha:f beta:f transA:i transB:i"},
    {"", "Greater", "7 9 13", 2, 2, 1, 1, ""},
    {"", "GreaterOrEqual", "12 16", 2, 2, 1, 1, ""},
    {"", "HardSigmoid", "6 22", 1, 1, 1, 1, "alpha:f beta:f"},
    {"", "Identity", "1 13 14 16 19 21 23 24 25", 1, 1, 1, 1, ""},
    {"", "If", "1 11 13 16 19 21 23 24 25", 1, 1, 1, -1,
     "then_branch:g else_branch:g"},
    {"", "IsInf", "10 20", 1, 1, 1, 1, "detect_negative:i detect_positive:i"},
    {"", "IsNaN", "9 13 20", 1, 1, 1, 1, ""},
    {"", "LayerNormalization", "17", 2, 3, 1, 3,
     "axis:i epsilon:f stash_type:i"},
    {"", "LeakyRelu", "6 16", 1, 1, 1, 1, "alpha:f"},
    {"", "Less", "7 9 13", 2, 2, 1, 1, ""},
    {"", "LessOrEqual", "12 16", 2, 2, 1, 1, ""},
    {"", "Log", "6 13", 1, 1, 1, 1, ""},
    {"", "LogSoftmax", "1 11 13", 1, 1, 1, 1, "axis:i"},
    {"", "Loop", "1 11 13 16 19 21 23 24 25", 0, -1, 1, -1, "body:g"},
    {"", "MatMul", "1 9 13", 2, 2, 1, 1, ""},
    {"", "Max", "6 8 12 13", 1, -1, 1, 1, ""},
    {"", "Min", "6 8 12 13", 1, -1, 1, 1, ""},
    {"", "Mod", "10 13", 2, 2, 1, 1, "fmod:i"},
    {"", "Mul", "7 13 14", 2, 2, 1, 1, ""},
    {"", "Neg", "6 13", 1, 1, 1, 1, ""},
    {"", "NonZero", "9 13", 1, 1, 1, 1, ""},
    {"", "Not", "1", 1, 1, 1, 1, ""},
    {"", "OneHot", "9 11", 3, 3, 1, 1, "axis:i"},
    {"", "Or", "7", 2, 2, 1, 1, ""},
    {"", "Pow", "7 12 13 15", 2, 2, 1, 1, ""},
    {"", "RMSNormalization", "23", 2, 2, 1, 1, "axis:i epsilon:f stash_type:i"},
    {"", "Range", "11 27", 3, 3, 1, 1, "stash_type:i@27"},
    {"", "Reciprocal", "6 13", 1, 1, 1, 1, ""},
    {"", "ReduceL2", "1 11 13 18", 1, 2, 1, 1,
     "axes:I@1-17 keepdims:i noop_with_empty_axes:i@18"},
    {"", "ReduceMax", "1 11 12 13 18 20", 1, 2, 1, 1,
     "axes:I@1-17 keepdims:i noop_with_empty_axes:i@18"},
    {"", "ReduceMean", "1 11 13 18", 1, 2, 1, 1,
     "axes:I@1-17 keepdims:i noop_with_empty_axes:i@18"},
    {"", "ReduceMin", "1 11 12 13 18 20", 1, 2, 1, 1,
     "axes:I@1-17 keepdims:i noop_with_empty_axes:i@18"},
    {"", "ReduceProd", "1 11 13 18", 1, 2, 1, 1,
     "axes:I@1-17 keepdims:i noop_with_empty_axes:i@18"},
    {"", "ReduceSum", "1 11 13", 1, 2, 1, 1,
     "axes:I@1-12 keepdims:i noop_with_empty_axes:i@13"},
    {"", "Relu", "6 13 14", 1, 1, 1, 1, ""},
    {"", "Reshape", "5 13 14 19 21 23 24 25", 2, 2, 1, 1, "allowzero:i@14"},
    {"", "Round", "11 22", 1, 1, 1, 1, ""},
    {"", "ScatterElements", "11 13 16 18", 3, 3, 1, 1, "axis:i reduction:s@16"},
    {"", "ScatterND", "11 13 16 18", 3, 3, 1, 1, "reduction:s@16"},
    {"", "Shape", "1 13 15 19 21 23 24 25", 1, 1, 1, 1, "start:i@15 end:i@15"},
    {"", "Sigmoid", "6 13", 1, 1, 1, 1, ""},
    {"", "Sign", "9 13", 1, 1, 1, 1, ""},
    // Not in the standard, but exporters put it into the default domain.
    {"", "SimplifiedLayerNormalization", "1", 2, 2, 1, 2,
     "axis:i epsilon:f stash_type:i"},
    {"", "Sin", "7 22", 1, 1, 1, 1, ""},
    {"", "Size", "1 13 19 21 23 24 25", 1, 1, 1, 1, ""},
    {"", "Slice", "1 10 11 13", 1, 5, 1, 1,
     "axes:I@1-9 ends:I@1-9 starts:I@1-9"},
    {"", "Softmax", "1 11 13", 1, 1, 1, 1, "axis:i"},
    {"", "Softplus", "1 22", 1, 1, 1, 1, ""},
    {"", "Split", "2 11 13 18", 1, 2, 1, -1,
     "axis:i split:I@2-12 num_outputs:i@18"},
    {"", "Sqrt", "6 13", 1, 1, 1, 1, ""},
    {"", "Squeeze", "1 11 13 21 23 24 25", 1, 2, 1, 1, "axes:I@1-12"},
    {"", "Sub", "7 13 14", 2, 2, 1, 1, ""},
    {"", "Sum", "6 8 13", 1, -1, 1, 1, ""},
    {"", "Swish", "24", 1, 1, 1, 1, "alpha:f"},
    {"", "Tanh", "6 13", 1, 1, 1, 1, ""},
    {"", "Tile", "6 13", 2, 2, 1, 1, ""},
    {"", "TopK", "1 10 11 24", 1, 2, 2, 2,
     "axis:i k:i@1-9 largest:i@11 sorted:i@11"},
    {"", "Transpose", "1 13 21 23 24 25", 1, 1, 1, 1, "perm:I"},
    {"", "Trilu", "14", 1, 2, 1, 1, "upper:i"},
    {"", "Unsqueeze", "1 11 13 21 23 24 25", 1, 2, 1, 1, "axes:I@1-12"},
    {"", "Where", "9 16", 3, 3, 1, 1, ""},
    {"", "Xor", "7", 2, 2, 1, 1, ""},
    {"com.microsoft", "FastGelu", "1", 1, 2, 1, 1, ""},
    {"com.microsoft", "Gelu", "1", 1, 1, 1, 1, ""},
    {"com.microsoft", "MoE", "1", 5, 8, 1, 1,
     "k:i activation_type:s normalize_routing_weights:i use_sparse_mixer:i "
     "swiglu_fusion:i activation_alpha:f activation_beta:f swiglu_limit:f"},
    {"com.microsoft", "MultiHeadAttention", "1", 1, 10, 1, 4,
     "num_heads:i mask_filter_value:f scale:f unidirectional:i"},
    {"com.microsoft", "QMoE", "1", 6, 21, 1, 1,
     "k:i activation_type:s normalize_routing_weights:i use_sparse_mixer:i "
     "swiglu_fusion:i activation_alpha:f activation_beta:f swiglu_limit:f "
     "expert_weight_bits:i block_size:i quant_type:s weights_prepacked:i"},
    {"com.microsoft", "QuickGelu", "1", 1, 1, 1, 1, "alpha:f"},
    {"com.microsoft", "RotaryEmbedding", "1", 4, 4, 1, 1,
     "interleaved:i is_packed_batching:i num_heads:i rotary_embedding_dim:i "
     "scale:f"},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", "1", 3, 4, 1, 4,
     "epsilon:f"},
};

ArrayRef<OpEntry> moe::onnx::opRegistry() { return table; }

const OpEntry *moe::onnx::findOp(StringRef domain, StringRef name) {
  for (const OpEntry &entry : table)
    if (domain == entry.domain && name == entry.name)
      return &entry;
  return nullptr;
}

int64_t moe::onnx::sinceVersion(const OpEntry &entry, int64_t opset) {
  int64_t since = 0;
  for (StringRef version : split(entry.versions, ' ')) {
    int64_t number = 0;
    if (!version.getAsInteger(10, number) && number <= opset)
      since = number;
  }
  return since;
}

char moe::onnx::attributeType(const OpEntry &entry, StringRef name,
                              int64_t version) {
  for (StringRef attribute : split(entry.attributes, ' ')) {
    auto [spelled, range] = attribute.split('@');
    auto [known, type] = spelled.split(':');
    if (known != name)
      continue;
    int64_t from = 0, to = INT64_MAX;
    auto [first, last] = range.split('-');
    if (!first.empty())
      (void)first.getAsInteger(10, from);
    if (!last.empty())
      (void)last.getAsInteger(10, to);
    if (version >= from && version <= to)
      return type.front();
  }
  return 0;
}

void moe::onnx::printOpRegistry(raw_ostream &os) {
  os << formatv("{0,-15} {1,-34} {2,-30} {3}\n", "domain", "operator",
                "since versions", "attributes");
  for (const OpEntry &entry : table)
    os << formatv("{0,-15} {1,-34} {2,-30} {3}\n",
                  *entry.domain ? entry.domain : "ai.onnx", entry.name,
                  entry.versions, entry.attributes);
}

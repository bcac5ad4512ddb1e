#ifndef MOE_DIALECTS_MOE_MOEENUMS_TD
#define MOE_DIALECTS_MOE_MOEENUMS_TD

include "mlir/IR/EnumAttr.td"

class MoE_Enum<string name, string summary, list<I32EnumAttrCase> cases>
    : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::moe";
}

// Same numbers as moert's.
def MoE_Activation : MoE_Enum<"Activation", "activation of an expert", [
    I32EnumAttrCase<"Identity", 0, "identity">,
    I32EnumAttrCase<"Relu", 1, "relu">,
    I32EnumAttrCase<"Relu2", 2, "relu2">,
    I32EnumAttrCase<"Silu", 3, "silu">,
    I32EnumAttrCase<"Gelu", 4, "gelu">,
    I32EnumAttrCase<"GeluTanh", 5, "gelu_tanh">]>;

def MoE_ExpertKind : MoE_Enum<"ExpertKind", "body of an expert", [
    I32EnumAttrCase<"Ffn", 0, "ffn">,
    I32EnumAttrCase<"Glu", 1, "glu">,
    I32EnumAttrCase<"Linear", 2, "linear">,
    I32EnumAttrCase<"Scale", 3, "scale">]>;

def MoE_NullKind : MoE_Enum<"NullKind", "what an expert without weights gives", [
    I32EnumAttrCase<"Zero", 0, "zero">,
    I32EnumAttrCase<"Copy", 1, "copy">,
    I32EnumAttrCase<"Constant", 2, "constant">]>;

def MoE_RouterKind : MoE_Enum<"RouterKind", "how tokens become logits", [
    I32EnumAttrCase<"Linear", 0, "linear">,
    I32EnumAttrCase<"LinearTanhLinear", 1, "linear_tanh_linear">,
    I32EnumAttrCase<"Table", 2, "table">,
    I32EnumAttrCase<"Distance", 3, "distance">,
    I32EnumAttrCase<"Given", 4, "given">]>;

// Same numbers as moert's.
def MoE_Score : MoE_Enum<"Score", "score function of a gate", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Softmax", 1, "softmax">,
    I32EnumAttrCase<"Sigmoid", 2, "sigmoid">]>;

def MoE_Norm : MoE_Enum<"Norm", "what a gate divides its weights by", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Selected", 1, "selected">,
    I32EnumAttrCase<"Real", 2, "real">,
    I32EnumAttrCase<"Nonzero", 3, "nonzero">]>;

def MoE_GroupScore : MoE_Enum<"GroupScore", "how groups of experts are ranked", [
    I32EnumAttrCase<"Max", 0, "max">,
    I32EnumAttrCase<"Top2", 1, "top2">]>;

def MoE_GroupMask : MoE_Enum<"GroupMask", "choice score of experts of other groups", [
    I32EnumAttrCase<"Zero", 0, "zero">,
    I32EnumAttrCase<"MinusInfinity", 1, "minus_infinity">]>;

def MoE_Overflow : MoE_Enum<"Overflow", "fate of a slot whose expert is full", [
    I32EnumAttrCase<"Drop", 0, "drop">,
    I32EnumAttrCase<"Next", 1, "next">,
    I32EnumAttrCase<"Pass", 2, "pass">]>;

def MoE_CapacityOrder : MoE_Enum<"CapacityOrder", "who is served first", [
    I32EnumAttrCase<"Token", 0, "token">,
    I32EnumAttrCase<"Slot", 1, "slot">,
    I32EnumAttrCase<"Score", 2, "score">]>;

def MoE_Rounding : MoE_Enum<"Rounding", "rounding of a capacity", [
    I32EnumAttrCase<"Floor", 0, "floor">,
    I32EnumAttrCase<"Ceil", 1, "ceil">,
    I32EnumAttrCase<"Nearest", 2, "nearest">]>;

def MoE_Granularity : MoE_Enum<"Granularity", "what is routed as one", [
    I32EnumAttrCase<"Token", 0, "token">,
    I32EnumAttrCase<"Sequence", 1, "sequence">]>;

def MoE_Combine : MoE_Enum<"Combine", "how the outputs of a token's experts meet", [
    I32EnumAttrCase<"Add", 0, "add">,
    I32EnumAttrCase<"Replace", 1, "replace">,
    I32EnumAttrCase<"Probability", 2, "probability">]>;

#endif // MOE_DIALECTS_MOE_MOEENUMS_TD

// RUN: moe-opt %s --split-input-file --verify-diagnostics

func.func @state_c1_neither() {
  // expected-error @below {{'moe.state' op needs a value to write or a result to read into}}
  moe.state "s"
  return
}

// -----

func.func @state_c1_both(%x: tensor<4xf32>) {
  // expected-error @below {{'moe.state' op needs a value to write or a result to read into}}
  %0 = moe.state "s" = %x : tensor<4xf32> -> tensor<4xf32>
  return
}

// -----

func.func @state_c2_write(%x: tensor<4xf32>) {
  // expected-error @below {{'moe.state' op writes, so it has no init}}
  moe.state "s" = %x : tensor<4xf32> init dense<0.0> : tensor<4xf32>
  return
}

// -----

func.func @state_c2_shape() {
  // expected-error @below {{'moe.state' op starts as 'tensor<5xf32>' but is 'tensor<4xf32>'}}
  %0 = moe.state "s" init dense<0.0> : tensor<5xf32> -> tensor<4xf32>
  return
}

// -----

func.func @layer_c1(%x: tensor<4xf32>) {
  // expected-error @below {{'moe.layer' op along control flow edge from Operation moe.yield to parent: successor operand type #0 'tensor<4xf32>' should match successor input type #0 'tensor<5xf32>'}}
  %0 = moe.layer ffn "l" -> tensor<5xf32> {
    // expected-note @below {{region branch point}}
    moe.yield %x : tensor<4xf32>
  }
  return
}

// -----

func.func @layer_c1_terminator(%x: tensor<4xf32>) {
  // expected-error @below {{'moe.layer' op expects regions to end with 'moe.yield', found 'ub.unreachable'}}
  // expected-note @below {{in custom textual format, the absence of terminator implies 'moe.yield'}}
  %0 = moe.layer ffn "l" -> tensor<4xf32> {
    ub.unreachable
  }
  return
}

// -----

func.func @layer_c2_count(%x: tensor<4xf32>) {
  // expected-error @below {{'moe.layer' op has 1 bypassing values for 0 results}}
  moe.layer ffn "l" bypass(%x : tensor<4xf32>) {
    moe.yield
  }
  return
}

// -----

func.func @layer_c2_type(%x: tensor<4xf32>, %y: tensor<5xf32>) {
  // expected-error @below {{'moe.layer' op bypasses 'tensor<5xf32>' by 'tensor<4xf32>'}}
  %0 = moe.layer ffn "l" bypass(%x : tensor<4xf32>) -> tensor<5xf32> {
    moe.yield %y : tensor<5xf32>
  }
  return
}

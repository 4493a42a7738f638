use super::*;
use crate::fake::FakeModel;

#[test]
fn an_outline_has_the_order_of_a_pass_and_the_forms_of_what_flows() {
    let outline = of(&FakeModel::new()).unwrap();
    let [embed, layer, mlp, head] = ["embed", "layers.1", "layers.1.mlp", "head"].map(|path| outline.at(path).unwrap());
    let span = |at: u32| outline.module(at).unwrap().span.unwrap();
    assert!(span(embed).1 < span(layer).0 && span(layer).0 < span(mlp).0 && span(mlp).1 < span(layer).1);
    assert!(span(layer).1 < span(head).0 && span(head).1 < span(0).1);
    assert_eq!(outline.module(outline.at("layers").unwrap()).unwrap().span, None);
    let tensor = |sizes: &[Size]| Form::Tensor(DType::Float64, sizes.to_vec());
    let hidden = tensor(&[Size::Rows, Size::Length, Size::Fixed(4)]);
    assert_eq!((outline.input(mlp), outline.output(layer)), (hidden.clone(), hidden));
    let logits = tensor(&[Size::Rows, Size::Length, Size::Fixed(64)]);
    assert_eq!(outline.output(head), logits);
    let Form::Record(_, fields) = outline.output(0) else { panic!("{:?}", outline.output(0)) };
    assert_eq!(fields, [("logits".to_owned(), logits)]);
    assert_eq!((outline.layers.len(), outline.passes.len()), (3, 2));
}

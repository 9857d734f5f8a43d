"""PAI-QuickStart's DPO example, from its first line to its last: the same script with `quickalign` in place of `pai`.

It needs nothing configured. The first run starts a server in the background and fetches the model's weights.
"""

# ruff: noqa: I001, T201, UP032 - the script is as it was
from quickalign.session import get_default_session
from quickalign.common.utils import random_str
from quickalign.model import ModelTrainingRecipe

sess = get_default_session()
# 获取训练脚本
training_recipe = ModelTrainingRecipe(
    model_name="qwen2-0.5b-instruct",
    model_provider="pai",
    method="LoRA_LLM",
    hyperparameters={
        # 通过DPO训练
        "training_strategy": "dpo",
    },
)
# 公共读测试训练数据
train_data_uri = f"oss://pai-quickstart-{sess.region_id}/huggingface/datasets/safe_rlhf/sampled_train.json"
# 提交作业到PAI,并等待训练完成
training_recipe.train(
    inputs={
        "train": train_data_uri,
    }
)
# 部署推理服务
predictor = training_recipe.deploy(service_name="qwen2_example_{}".format(random_str(6)))
# 部署的服务支持openai API
openai = predictor.openai()
resp = openai.chat.completions.create(
    model="default",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the meaning of life?"},
    ],
)
print(resp.choices[0].message.content)
# 删除推理服务
predictor.delete_service()
